"""What a fit returns."""

from __future__ import annotations

from collections.abc import Iterable
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
        finished: False if the user stopped its training.
    """

    seed: int
    model: LangevinModel
    guide: AmortisedGuide
    loss: list[float] = field(default_factory=list)
    phase: list[str] = field(default_factory=list)
    restarts: int = 0
    grid: StateGrid | None = None
    barriers_told: bool = True
    finished: bool = True


@dataclass(frozen=True)
class FitResult:
    """Fits from several seeds.

    Attributes:
        members: One entry a seed; at least one.
        interrupted: True if the user stopped training; what was fitted by then is kept.
    """

    members: list[FittedMember]
    interrupted: bool = False

    @classmethod
    def by_hand(
        cls, model: LangevinModel, guide: AmortisedGuide, *, loss: Iterable[float] = (), seed: int = 0
    ) -> FitResult:
        """A model and its guide that were trained without :func:`~pyro_langevin.fit`, for all that takes a fit.

        Several such fits are put together by :meth:`joined`. Draws then come from the guide.

        Args:
            model: The trained model.
            guide: Its trained guide.
            loss: Loss per observed value at every step.
            seed: The seed it was trained with.

        Raises:
            ValueError: If the guide is for another model.
        """
        if guide.model is not model:
            raise ValueError("FitResult.by_hand: expected the guide of this model, got another's; pass guide.model")
        losses = list(loss)
        return cls([FittedMember(seed, model, guide, losses, ["bound"] * len(losses))])

    @classmethod
    def joined(cls, results: Iterable[FitResult]) -> FitResult:
        """Fits of the same model from several seeds that were made apart, on other machines perhaps.

        Raises:
            ValueError: If there is none, or a seed comes twice.
        """
        given = list(results)
        members = [member for result in given for member in result.members]
        seeds = [member.seed for member in members]
        if not members or len(set(seeds)) < len(seeds):
            raise ValueError(f"FitResult.joined: expected fits of different seeds, got seeds {seeds}; give each once")
        return cls(members, any(result.interrupted for result in given))

    @property
    def model(self) -> LangevinModel:
        """The model of the first seed."""
        return self.members[0].model

    @property
    def guide(self) -> AmortisedGuide:
        """The guide of the first seed."""
        return self.members[0].guide
