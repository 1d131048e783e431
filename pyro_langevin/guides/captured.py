"""Networks that nobody trains: learned parameters that a function has captured without registering them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


def parameters_behind(outputs: Iterable[Tensor]) -> list[Tensor]:
    """The learned tensors (leaves of the graph) that some outputs depend on."""
    found: dict[int, Tensor] = {}
    seen = set()
    waiting = []
    for output in outputs:
        if output.grad_fn is not None:
            waiting.append(output.grad_fn)
        elif output.requires_grad:
            found[id(output)] = output
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)  # only the nodes at the graph's leaves have one
        if leaf is not None:
            found[id(leaf)] = leaf
        waiting.extend(parent for parent, _ in node.next_functions if parent is not None)
    return list(found.values())
