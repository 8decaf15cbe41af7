"""A row of a table: a method, and what it is measured at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from ..degrade import recipe, text_of
from ..models import weights
from ..models.cost import Cost, cost
from ..models.orientations import ORIENTATIONS
from ..models.weights import ENSEMBLE
from .trainings import Training, network_cost

Experiment = Literal["table1", "table2", "table3", "ablations", "robustness", "native", "figures"]


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        id: `"table2/on-equal-terms/edsr"`; its fate is kept under it.
        experiment, group: the table, and its part.
        title: of the method.
        system: what `--only` names.
        trainings: the network's, or those of a family of networks of one scale each; none for an untrained method and for shipped weights.
        scales, degradation: what it is measured at.
        sites: measured; all where empty.
        thorough: sites measured at each of `scales`, the others at ×2 alone; every site at each of them where empty.
        column: of the paper's Table 2 or 3.
        control: whether it is there to compare another row of the system with, and in no figure.
        averaged: whether the network is asked in eight orientations (`models.ensemble`).
        family: whether networks of whole scales answer any scale, the next whole one then bicubic down (`models.family`).
        absent: why it is not trained here; empty where it is.
    """

    id: str
    experiment: Experiment
    group: str
    title: str
    system: str
    trainings: tuple[Training, ...] = ()
    scales: tuple[str, ...] = ("2",)
    degradation: str = "bicubic"
    sites: tuple[str, ...] = ()
    thorough: tuple[str, ...] = ()
    column: str = ""
    control: bool = False
    averaged: bool = False
    family: bool = False
    absent: str = ""

    @property
    def method(self) -> str:
        """What results.csv calls it."""
        if not self.trainings:
            return self.system
        first = self.trainings[0].name + ("-family" if self.family else "")
        return f"{first}{ENSEMBLE}" if self.averaged else first

    @property
    def cost(self) -> Cost | None:
        """Of its networks together, measured or not; the multiply-adds of the one that answers ×2."""
        answering = self.training_at("2")
        if answering is None:
            return _of_shipped(self.system) if self.system in weights.shipped() else None
        times = len(ORIENTATIONS) if self.averaged else 1
        parameters = sum(network_cost(one).parameters for one in self.trainings)
        return Cost(parameters, times * network_cost(answering).pixel)

    def within(self, other: Row) -> bool:
        """Whether another row, of the same method, is measured at all that this one is."""
        shrunk, other_shrunk = (text_of(recipe(one.degradation)) for one in (self, other))
        if (self.method, self.trainings, shrunk) != (other.method, other.trainings, other_shrunk):
            return False
        closely = self.scales == ("2",) or _among(self.thorough or self.sites, other.thorough or other.sites)
        return {*self.scales} <= {*other.scales} and closely and _among(self.sites, other.sites)

    def training_at(self, scale: str) -> Training | None:
        """The one whose network answers a scale; None for an untrained method."""
        able = (
            one for one in self.trainings if not self.family or one.config.sampling.scales[0] >= float(scale)
        )
        return next(able, self.trainings[-1] if self.trainings else None)


def _among(sites: Sequence[str], others: Sequence[str]) -> bool:
    """Whether sites are among others, where none are all."""
    return not others or (bool(sites) and {*sites} <= {*others})


@cache
def _of_shipped(name: str) -> Cost:
    return cost(weights.load(name)[1].spec)


def before(row: Row, rows: Sequence[Row]) -> Row | None:
    """What a fine-tuned network is held against: the row that went on from the same weights on L1 alone, else where it began."""
    start = row.trainings[0].after if row.trainings else None
    if start is None:
        return None
    plain = [one for one in rows if one.trainings and not one.averaged and one.group == row.group]
    alike = [
        one
        for one in plain
        if one.trainings[0].after == start and [*one.trainings[0].config.losses] == ["l1"]
    ]
    return next(iter(alike), None) or next((one for one in plain if one.trainings[0] == start), None)


def untrained(experiment: Experiment, group: str, method: str, **columns: Any) -> Row:
    """The row of an interpolator, or of shipped weights."""
    return Row(_id(experiment, group, method), experiment, group, method, method, **columns)


def trained(
    experiment: Experiment, group: str, title: str, system: str, *trainings: Training, **columns: Any
) -> Row:
    """The row of a network, or of a family of networks."""
    own = trainings[0].name + ("-family" if columns.get("family") else "")
    own += "-averaged" if columns.get("averaged") else ""
    return Row(_id(experiment, group, own), experiment, group, title, system, trainings, **columns)


def _id(*parts: str) -> str:
    return "/".join("-".join(_kept(part).split()) for part in parts)


def _kept(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.:=") else " " for c in text.lower())
