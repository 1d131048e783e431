"""What a fit returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_langevin.grid_filter import StateGrid
from pyro_langevin.guides import AmortisedGuide
from pyro_langevin.model import LangevinModel


@dataclass(frozen=True)
class FittedMember:
    """One independent fit.

    Attributes:
        seed: The seed it was started with.
        model: The fitted model.
        guide: The fitted guide.
        loss: Loss per observed value at every step, over all phases (negative bound, or negative evidence).
        phase: Name of the phase of every step.
        restarts: How often training went back to its last good state.
        grid: The grid that the model was fitted on, where its evidence was exact.
        barriers_told: False where hops between neighbouring observations and those at a lag contradict each other, so
            that the fit tells occupancies and rates, but neither barriers nor diffusion.
    """

    seed: int
    model: LangevinModel
    guide: AmortisedGuide
    loss: list[float] = field(default_factory=list)
    phase: list[str] = field(default_factory=list)
    restarts: int = 0
    grid: StateGrid | None = None
    barriers_told: bool = True


@dataclass(frozen=True)
class FitResult:
    """Fits from several seeds.

    Attributes:
        members: One entry a seed; at least one.
        interrupted: True if the user stopped training; what was fitted by then is kept.
    """

    members: list[FittedMember]
    interrupted: bool = False

    @property
    def model(self) -> LangevinModel:
        """The model of the first seed."""
        return self.members[0].model

    @property
    def guide(self) -> AmortisedGuide:
        """The guide of the first seed."""
        return self.members[0].guide
