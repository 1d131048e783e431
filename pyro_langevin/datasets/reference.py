"""Exact answers for known potentials, for demonstrations and tests.

Overdamped, in the time unit of the diffusion. In one dimension two independent numerical routes agree
to at least six digits; in two dimensions finite volumes with Richardson extrapolation and quadratic finite
elements agree to about four. Timescales belong to the continuous generator, not to any discretised chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Point = tuple[float, ...]


@dataclass(frozen=True)
class ExactAnswer:
    """States and kinetics of an overdamped Langevin process in a known potential.

    Attributes:
        potential: The potential ``U``, as a formula.
        beta: ``1 / (k_B T)`` in the unit of ``U``.
        diffusion: ``D``, length squared per time.
        minima: Positions of the minima, in ascending order in one dimension; a state is the basin of one.
        energy_minima: ``U`` there.
        saddles: Positions of the saddles.
        energy_saddles: ``U`` there.
        saddle_joins: The two states that each saddle lies between.
        occupancy: Probability of each basin under the Boltzmann law.
        timescales: The slowest relaxation times of the generator, slowest first.
        mfpt: Mean first passage time from the minimum of one state to that of the other; in two dimensions
            between their cores.
        box: In two dimensions: the region ``(x_low, x_high, y_low, y_high)`` that holds the process.
        cores: In two dimensions: the rectangle ``(x_low, x_high, y_low, y_high)`` of each state with a core.
    """

    potential: str
    beta: float
    diffusion: float
    minima: tuple[Point, ...]
    energy_minima: tuple[float, ...]
    saddles: tuple[Point, ...]
    energy_saddles: tuple[float, ...]
    saddle_joins: tuple[tuple[int, int], ...]
    occupancy: tuple[float, ...]
    timescales: tuple[float, ...]
    mfpt: Mapping[tuple[int, int], float] = field(hash=False)
    box: Point = ()
    cores: Mapping[int, Point] = field(default_factory=dict, hash=False)

    @property
    def n_states(self) -> int:
        """Number of basins."""
        return len(self.minima)

    def barrier(self, start: int, end: int) -> float:
        """Barrier in kT on the lowest way from the minimum of one state to another's.

        Raises:
            ValueError: If no chain of saddles joins the two states.
        """
        reached = {start}
        # The lowest highest saddle: saddles are opened from below until the two states are joined.
        order = sorted(range(len(self.saddles)), key=lambda saddle: self.energy_saddles[saddle])
        for n_open, saddle in enumerate(order, start=1):
            opened = [self.saddle_joins[i] for i in order[:n_open]]
            for _ in opened:
                reached |= {state for pair in opened if reached & set(pair) for state in pair}
            if end in reached:
                return self.beta * (self.energy_saddles[saddle] - self.energy_minima[start])
        raise ValueError(
            f"barrier: expected two states joined by saddles, got {start} and {end}; check their order"
        )


#: Symmetric double well, barrier 4 kT.
DOUBLE_WELL = ExactAnswer(
    potential="4 (x^2 - 1)^2",
    beta=1.0,
    diffusion=1.0,
    minima=((-1.0,), (1.0,)),
    energy_minima=(0.0, 0.0),
    saddles=((0.0,),),
    energy_saddles=(4.0,),
    saddle_joins=((0, 1),),
    occupancy=(0.5, 0.5),
    timescales=(8.39501055, 0.0755197101, 0.0453536106),
    mfpt={(0, 1): 17.3159108, (1, 0): 17.3159108},
)

#: Symmetric double well, barrier 3 kT, of unit height and beta 3.
COLD_DOUBLE_WELL = ExactAnswer(
    potential="(x^2 - 1)^2",
    beta=3.0,
    diffusion=0.3333333333333333,
    minima=((-1.0,), (1.0,)),
    energy_minima=(0.0, 0.0),
    saddles=((0.0,),),
    energy_saddles=(1.0,),
    saddle_joins=((0, 1),),
    occupancy=(0.5, 0.5),
    timescales=(12.4038914, 0.286130769, 0.162690899),
    mfpt={(0, 1): 26.6400864, (1, 0): 26.6400864},
)

#: Double well of unequal wells.
TILTED_DOUBLE_WELL = ExactAnswer(
    potential="4 (x^2 - 1)^2 + x / 2",
    beta=1.0,
    diffusion=1.0,
    minima=((-1.01527331,), (0.9839927,)),
    energy_minima=(-0.503847048, 0.496030725),
    saddles=((0.0312806073,),),
    energy_saddles=(4.00781632,),
    saddle_joins=((0, 1),),
    occupancy=(0.718103523, 0.281896477),
    timescales=(7.65204868, 0.0753424374, 0.0451487517),
    mfpt={(0, 1): 28.0640511, (1, 0): 11.0209197},
)

#: Four wells of Prinz et al. (2011), J. Chem. Phys. 134, 174105.
PRINZ = ExactAnswer(
    potential="4 (x^8 + 0.8 exp(-80 x^2) + 0.2 exp(-80 (x - 0.5)^2) + 0.5 exp(-40 (x + 0.5)^2))",
    beta=1.0,
    diffusion=1.0,
    minima=((-0.739430178,), (-0.223737578,), (0.269149351,), (0.673296355,)),
    energy_minima=(0.559379772, 0.152811002, 0.0211038016, 0.241322262),
    saddles=((-0.501597952,), (-7.09539487e-06,), (0.502009381,)),
    energy_saddles=(2.01582473, 3.20009081, 0.815876108),
    saddle_joins=((0, 1), (1, 2), (2, 3)),
    occupancy=(0.169240829, 0.232495893, 0.33757479, 0.260688487),
    timescales=(0.834032634, 0.126766779, 0.0650982637),
    mfpt={
        (0, 1): 0.29125675,
        (0, 2): 1.50629445,
        (0, 3): 1.91967961,
        (1, 0): 1.40726345,
        (1, 2): 1.21503724,
        (1, 3): 1.62842248,
        (2, 0): 3.20418581,
        (2, 1): 1.79692246,
        (2, 3): 0.413385356,
        (3, 0): 3.36140175,
        (3, 1): 1.95413838,
        (3, 2): 0.15721448,
    },
)

#: One harmonic well: variance 0.5; from -1 the point 1 is reached after 2.592483 on average.
ORNSTEIN_UHLENBECK = ExactAnswer(
    potential="x^2",
    beta=1.0,
    diffusion=1.0,
    minima=((0.0,),),
    energy_minima=(0.0,),
    saddles=(),
    energy_saddles=(),
    saddle_joins=(),
    occupancy=(1.0,),
    timescales=(0.5, 0.25, 0.166666667),
    mfpt={},
)

#: Two deep wells and a shallow one above them: states left, top, right. MFPT between cores.
TRIPLE_WELL = ExactAnswer(
    potential=(
        "3 exp(-x^2 - (y - 1/3)^2) - 3 exp(-x^2 - (y - 5/3)^2) - 5 exp(-(x - 1)^2 - y^2) "
        "- 5 exp(-(x + 1)^2 - y^2) + 0.2 x^4 + 0.2 (y - 1/3)^4"
    ),
    beta=1.67,
    diffusion=0.598802395,
    minima=((-1.04805499, -0.0420936663), (0.0, 1.537082), (1.04805499, -0.0420936663)),
    energy_minima=(-3.9948606, -2.17215362, -3.9948606),
    saddles=((-0.617272308, 1.10273452), (0.0, -0.31582655), (0.617272308, 1.10273452)),
    energy_saddles=(-1.64668745, -1.38458664, -1.64668745),
    saddle_joins=((0, 1), (0, 2), (1, 2)),
    occupancy=(0.479414, 0.0411727, 0.479414),
    timescales=(12.2852, 1.32501, 0.255167),
    mfpt={(0, 2): 26.413, (0, 1): 36.035, (1, 0): 14.924},
    box=(-2.5, 2.5, -2.0, 3.0),
    cores={0: (-1.25, -0.75, -0.25, 0.25), 2: (0.75, 1.25, -0.25, 0.25), 1: (-0.25, 0.25, 1.25, 1.75)},
)

#: Three wells of Müller & Brown (1979) at 20 kT units, with D = 20; MFPT between cores.
MUELLER_BROWN = ExactAnswer(
    potential="the potential of Müller & Brown (1979), unscaled",
    beta=0.05,
    diffusion=20.0,
    minima=((-0.558223635, 1.44172584), (-0.050010823, 0.466694105), (0.623499405, 0.0280377585)),
    energy_minima=(-146.699517, -80.7678181, -108.166724),
    saddles=((-0.822001559, 0.624312803), (0.212486582, 0.292988325)),
    energy_saddles=(-40.6648435, -72.2489401),
    saddle_joins=((0, 1), (1, 2)),
    occupancy=(0.805634, 0.0651365, 0.12923),
    timescales=(0.22147, 0.0100477, 0.00612274),
    mfpt={(0, 2): 1.3263, (2, 0): 0.29539},
    box=(-1.6, 1.2, -0.6, 2.2),
    cores={0: (-0.75, -0.4, 1.2, 1.65), 2: (0.4, 0.8, -0.15, 0.2)},
)
