"""Rows of the results: a figure of ours, the reference's from the same run, and whether the goal is met."""

from collections.abc import Sequence
from statistics import median, quantiles
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict


class Goal(BaseModel):
    """A bound on our figure, or on its ratio to the reference's."""

    model_config = ConfigDict(frozen=True)

    of: Literal["ours", "ratio"]
    sense: Literal["at least", "at most"]
    bound: float

    def holds(self, ours: float, ratio: float | None) -> bool:
        """Whether the figures meet the goal; a ratio without a reference does not."""
        value = ours if self.of == "ours" else ratio
        if value is None:
            return False
        return value >= self.bound if self.sense == "at least" else value <= self.bound


class Row(BaseModel):
    """One measurement, made by `of` or `of_rounds`. `note` says how, and what is not in the figures."""

    model_config = ConfigDict(frozen=True)

    work: str
    unit: str
    ours: float
    theirs: float | None
    ratio: float | None
    goal: Goal | None
    met: bool | None
    note: str

    @classmethod
    def of(  # noqa: PLR0913 - the fields of a row
        cls,
        work: str,
        unit: str,
        ours: float,
        theirs: float | None = None,
        *,
        ratio: float | None = None,
        goal: Goal | None = None,
        note: str = "",
    ) -> Self:
        """A row judged by its goal; the ratio is that of the two figures if none is given."""
        if ratio is None and theirs is not None:
            ratio = ours / theirs
        met = goal.holds(ours, ratio) if goal else None
        return cls(work=work, unit=unit, ours=ours, theirs=theirs, ratio=ratio, goal=goal, met=met, note=note)

    @classmethod
    def of_rounds(  # noqa: PLR0913 - the fields of a row
        cls,
        work: str,
        unit: str,
        ours: Sequence[float],
        theirs: Sequence[float],
        *,
        goal: Goal | None = None,
        note: str = "",
    ) -> Self:
        """A row of repeated rounds, ours and theirs in turn: medians, and the median of each round's ratio.

        A round is a pair, so that what else the machine does in it weighs on both.
        """
        ratios = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
        spread = f"ratio {ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} rounds"
        note = f"{note}; {spread}" if note else spread
        return cls.of(work, unit, median(ours), median(theirs), ratio=median(ratios), goal=goal, note=note)


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` of the values do not exceed, interpolated."""
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]
