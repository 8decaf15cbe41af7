"""The measurements behind each row, and the cells that tables make of them."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ..degrade import recipe, text_of
from ..files import counted
from ..results import Row as Result
from ..results import read_results
from ..tables import Difference, Mean, paired, people, summary
from .rows import Row
from .state import Fate, State, Trained

NONE = "–"
Trainings = Row | tuple[Row, ...]
"""A row, or those of one system trained several times, whose mean counts slice by slice."""

MEASURES = (("psnr", "PSNR, dB", 2), ("ssim", "SSIM", 4), ("nrmse", "NRMSE", 4))
"""The paper's three, their titles and digits."""


class Measured:
    """What is on disk of a reproduction, as it was when this was made.

    Args:
        out: the folder of results.csv.
    """

    def __init__(self, out: Path, state: State) -> None:
        self.state = state
        path = out / "results.csv"
        self._results: dict[tuple[str, ...], list[Result]] = defaultdict(list)
        for one in read_results(path) if path.exists() else ():
            self._results[one.weights_id, one.commit, one.precision, one.degradation].append(one)
        self._fates: dict[str, tuple[Row, Fate]] = {}
        self._exact: dict[str, set[tuple[object, ...]]] = {}
        self._differences: dict[tuple[object, ...], tuple[tuple[Row, ...], Difference | None]] = {}

    def fate(self, row: Row) -> Fate:
        """What became of this very row (`State.known`)."""
        held = self._fates.get(row.id)
        if held is None or held[0] is not row:
            held = self._fates[row.id] = row, self.state.known(row)
        return held[1]

    def of(self, row: Row, scale: str = "", site: str = "") -> list[Result]:
        """A finished row's measurements, all or those at a scale or site; of its own sites only."""
        if not self.whole(row):
            return []
        return [
            one
            for one in self._all(row)
            if (not scale or one.scale == scale) and (not site or one.site == site)
        ]

    def whole(self, row: Row) -> bool:
        """Whether a row is done and all that was measured of it still there: a torn file has less."""
        fate = self.fate(row)
        return fate.status == "done" and self.count(row) >= max(1, fate.measurements)

    def count(self, row: Row) -> int:
        """Its measurements on disk."""
        return len(self._all(row))

    def _all(self, row: Row) -> list[Result]:
        fate, degradation = self.fate(row), text_of(recipe(row.degradation))
        return [
            one
            for one in self._results.get((fate.weights_id, fate.commit, fate.precision, degradation), ())
            if one.scale in row.scales and (not row.sites or one.site in row.sites)
        ]

    def sites(self, rows: Iterable[Row]) -> list[str]:
        """Those the rows were measured at, in the order of the measurements."""
        return list(dict.fromkeys(one.site for row in rows for one in self.of(row)))

    def place(self, site: str, rows: Iterable[Row], scale: str = "2") -> str:
        """A site and what was measured there, `liver (36 slices of one patient)`; all of them where it is empty."""
        found = [one for row in rows for one in self.of(row, scale, site)]
        name = site or "all sites"
        return f"{name} ({population(found)})" if found else name

    def mean(self, row: Trainings, scale: str, measure: str = "psnr", site: str = "") -> Mean | None:
        """Over the slices of a site, or of all the row's sites together."""
        found = [_anywhere(one) for one in self._together(_several(row), scale, measure, site)]
        return next(iter(summary(found, measure).values()), None)

    def difference(
        self, row: Trainings, base: Trainings, scale: str, measure: str = "psnr", site: str = ""
    ) -> Difference | None:
        """Row minus base on the slices both have, with its interval (`tables.paired`); resampled once, however many tables ask."""
        own, other = _several(row), _several(base)
        place = tuple(one.id for one in own), tuple(one.id for one in other), scale, measure, site
        held = self._differences.get(place)
        if held is None or any(
            one is not known for one, known in zip((*own, *other), held[0], strict=True)
        ):  # Of rows that have only the name in common.
            held = self._differences[place] = (
                (*own, *other), self._difference(own, other, scale, measure, site),
            )  # fmt: skip
        return held[1]

    def _difference(
        self, rows: tuple[Row, ...], bases: tuple[Row, ...], scale: str, measure: str, site: str
    ) -> Difference | None:
        own, other = (self._together(several, scale, measure, site) for several in (rows, bases))
        found = [_anywhere(one, "row") for one in own] + [_anywhere(one, "base") for one in other]
        return next(iter(paired(found, "row", "base", measure).values()), None)

    def _together(self, rows: tuple[Row, ...], scale: str, measure: str, site: str) -> list[Result]:
        """Measurements at a scale; of several trainings those that are measured there, with the mean of the measure."""
        exact = self._restored(measure)
        kept = (
            [one for one in self.of(row, scale, site) if (one.degradation, *_slice(one)) not in exact]
            for row in rows
        )
        several = [there for there in kept if there]
        if len(several) < 2:
            return several[0] if several else []
        figures: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for one in itertools.chain.from_iterable(several):
            figures[_slice(one)].append(getattr(one, measure))
        means: dict[tuple[object, ...], dict[str, Any]] = {
            place: {measure: fmean(found)} for place, found in figures.items() if len(found) == len(several)
        }
        return [replace(one, **means[_slice(one)]) for one in several[0] if _slice(one) in means]

    def _restored(self, measure: str) -> set[tuple[object, ...]]:
        """Slices that some method makes exactly, which count for none (`tables.Mean`)."""
        if measure not in self._exact:
            every = itertools.chain.from_iterable(self._results.values())
            self._exact[measure] = {
                (one.degradation, *_slice(one)) for one in every if math.isinf(one.measure(measure))
            }
        return self._exact[measure]

    def lead(
        self, leader: Row | None, row: Row, scale: str, measure: str = "psnr", site: str = ""
    ) -> Difference | None:
        """What a leader is ahead of a row by; None of itself."""
        return self.difference(leader, row, scale, measure, site) if leader and leader is not row else None

    def answering(self, row: Row, scale: str) -> Trained | None:
        """What the training turned out to be whose network answers a scale; None where it did not end."""
        one = row.training_at(scale)
        return self.state.trained(one) if one else None


def spread(mean: Mean | None, digits: int) -> str:
    """`37.59 ± 1.16`."""
    if mean is None or mean.slices == 0:
        return NONE
    text = f"{mean.mean:.{digits}f}"
    return text if math.isnan(mean.sd) else f"{text} ± {mean.sd:.{digits}f}"


FINEST = 2
"""Digits that an interval may have more than a measure."""


def interval(difference: Difference | None, digits: int = 2) -> str:
    """`+0.75 [+0.61, +0.90]`; with more digits where a difference would be printed as none, or its ends as one."""
    if difference is None:
        return NONE
    ends = [abs(one) for one in difference[:3] if one and not math.isnan(one)]
    finest = digits + FINEST
    alike = difference.low < difference.high
    while digits < finest and (
        any(one < 0.5 * 10**-digits for one in ends)
        or (alike and f"{difference.low:.{digits}f}" == f"{difference.high:.{digits}f}")
    ):
        digits += 1
    text = f"{difference.mean:+.{digits}f}"
    if math.isnan(difference.low):
        return text
    return f"{text} [{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"


def population(results: Sequence[Result]) -> str:
    """`12 slices of 6 patients` (`tables.people`)."""
    slices = len({(one.scan, one.slice, one.data_sha256) for one in results})
    return f"{counted(slices, 'slice', 'slices')} of {people(one.patient for one in results)}"


def millions(count: float) -> str:
    """A count in millions, with enough digits for a small one."""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e6:.3f} M"


def _several(row: Trainings) -> tuple[Row, ...]:
    return row if isinstance(row, tuple) else (row,)


def _slice(one: Result) -> tuple[object, ...]:
    return one.scale, one.scan, one.slice, one.data_sha256


def _anywhere(one: Result, model: str = "") -> Result:
    return replace(one, site="", model=model or one.model)
