"""How far from the machine's limit? Counted work of a training iteration against measured rates.

The products of matrices in one iteration of each side of ``peers.py`` are counted, forward and backward, and divided
by the rate that this machine reaches on a large product: the least time that the same products could take. What an
iteration takes beyond that goes to elementwise passes over memory, whose rate is printed as well, and to calls of small
operations.

    python benchmarks/roofline.py --threads 2
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from peers import SIDES, Workload
from torch.utils.flop_counter import FlopCounterMode

SIZE = 2048  # of the product whose rate is measured
ELEMENTS = 2**25  # of the sum: larger than any cache
SMALL_CALLS = 2000


def seconds(action: Callable[[], object], rounds: int = 7) -> float:
    """Median of some rounds, after one."""
    action()
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def rates() -> tuple[float, float, float]:
    """FLOP a second of a large product, bytes a second of a large sum, seconds of a call of a small operation."""
    left, right, out = (torch.randn(SIZE, SIZE) for _ in range(3))
    product = 2.0 * SIZE**3 / seconds(lambda: torch.mm(left, right, out=out))
    first, second, total = (torch.randn(ELEMENTS) for _ in range(3))
    passed = 3 * 4 * ELEMENTS / seconds(lambda: torch.add(first, second, out=total))
    one, other = torch.randn(8), torch.randn(8)

    def small() -> None:
        for _ in range(SMALL_CALLS):
            torch.add(one, other)

    return product, passed, seconds(small) / SMALL_CALLS


def main() -> None:
    """Print rates and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work, (product, passed, call) = Workload(), rates()
    print(f"{work}, torch {torch.__version__}, {options.threads} threads")
    print(f"products {product / 1e9:.0f} GFLOP/s, sums {passed / 1e9:.1f} GB/s, a small call {1e6 * call:.1f} us\n")
    print(f"{'':32s}{'GFLOP':>9s}{'least s':>9s}{'taken s':>9s}{'share':>8s}")
    for side in options.sides:
        iteration = SIDES[side](work)
        with FlopCounterMode(display=False) as counter:
            iteration()
        counted = counter.get_total_flops()
        taken = seconds(iteration, 5)
        least = counted / product
        print(f"{side:32s}{counted / 1e9:9.1f}{least:9.3f}{taken:9.3f}{least / taken:8.0%}", flush=True)


if __name__ == "__main__":
    main()
