"""What was to be shown of MESR, and whether it is: every verdict from measurements, with its interval and what chance does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..tables import Difference, markdown
from .measured import MEASURES, NONE, Measured, interval
from .paper import paper
from .plan import EQUAL, LEADERS, LONGER, VARIED
from .rows import Row
from .systems import SYSTEMS
from .trainings import of_another_seed

HOLDS = (
    "Yes or no takes two things: the whole interval lies on one side, and the difference is no less than the most by which"
    " training a network with another seed moved that very mean; all else is undecided. {seeds} Sites with one patient say nothing about other patients."
)
SEEDS = (
    "Only these were trained with another seed: {networks}. **They are judged by the mean of both trainings, slice by slice**, where the tables"
    " show the first alone. What another seed moves is a rough guess of chance, by which of networks that are"
    " equal one in {odds} would still be told apart, were it for the interval as well. Where it was measured at ×2 alone, ×2"
    " stands for the other scales.{elsewhere}"
)
NO_SEEDS = "No other seed is measured yet: the interval decides."
ELSEWHERE = " What was trained otherwise is given the chance of these networks."

IN_BODY = ("psnr_body", "body PSNR, dB", 2)
JUDGED = (*MEASURES, IN_BODY)
"""What the verdicts are about: the paper's three, and what air cannot flatter."""

PAIRS = (
    ("mesr", "meta-rdn"), ("mesr", "miassr"), ("mesr", "mesr-lite"), ("mesr-lite", "miassr"), ("mesr", "edsr-16x64"),
    ("mesr-16x8", "meta-rdn"), ("mesr-16x8", "miassr"), ("mesr-16x8", "mesr-lite"), ("mesr-16x8", "edsr-16x64"),
    ("mesr-compound", "meta-rdn"), ("mesr-compound", "miassr-gan"), ("mesr-paper", "meta-rdn"), ("mesr-paper", "miassr"),
)  # fmt: skip
"""Of the systems that answer every scale, by one network or by one for each whole scale: which was to be ahead of which."""


YES, NO, UNDECIDED = "yes", "**no**", "undecided"
WEAKEST = (NO, UNDECIDED, YES)
"""Verdicts, from the one that a claim about several ends with."""


def verdict(difference: Difference, lower: bool = False, beyond: float = 0.0, chance: float = 0.0) -> str:
    """Whether what was to be higher (or lower) is, by more than `beyond`.

    Undecided where the interval holds `beyond` or there is none, as of a single slice, and where the difference is less
    than what another training would change.

    Args:
        chance: what another seed moves a mean by.
    """
    mean, low, high = difference.mean, difference.low, difference.high
    if lower:
        mean, low, high = -mean, -high, -low
    if math.isnan(low) or abs(mean - beyond) < chance:
        return UNDECIDED
    if low > beyond:
        return YES
    return NO if high <= beyond else UNDECIDED


class Judged(NamedTuple):
    """A verdict, the difference it is about, and whom it is against.

    Attributes:
        others: who else has the same verdict, where it is not yes.
        undecided: against whom it is undecided, where it is no.
    """

    word: str
    ahead: Difference
    rival: Row
    others: tuple[Row, ...] = ()
    undecided: tuple[Row, ...] = ()


class Verdicts:
    """What holds in a part of Table 2.

    Args:
        rows: of the part, or of Table 3.
        table2: every row of Table 2, among which those of another seed are.
        sites: of CT, which the verdicts are about.
    """

    def __init__(
        self, rows: Sequence[Row], table2: Sequence[Row], measured: Measured, sites: Sequence[str]
    ) -> None:
        self.measured, self.sites = measured, sites
        group = rows[0].group if rows else EQUAL
        leaders = LEADERS.get(group, LEADERS[EQUAL])
        self._second = f"{leaders[0]}-compound"
        self.wide = [row for row in rows if row.scales != ("2",)]
        self.rows = [row for row in rows if "2" in row.scales and not row.family]
        self.networks = [
            row
            for row in self.rows
            if row.trainings and not row.control and row.system != self._second and measured.of(row, "2")
        ]
        self.leaders = [row for name in leaders for row in self.networks if row.system == name]
        self.leader = self.leaders[0] if self.leaders else None
        self._seeds = _seeds([row for row in table2 if row.group == EQUAL], measured)
        self._elsewhere = group != EQUAL

    def text(self, headline: str) -> str:
        """Markdown of what holds at ×2; empty where nothing of it is measured."""
        parts = [text for row, others, of in self.claims() if (text := self._before(row, others, of))]
        parts += [f"{margin}." for ours in self.leaders if (margin := self.margin(ours, headline))]
        return "\n\n".join([self._holds(), *parts]) if parts else ""

    def claims(self) -> list[tuple[Row, list[Row], str]]:
        """Which row was to be ahead of which others at ×2, where there are such, and what these are, in the singular."""
        found = []
        averaged = [row for row in self.rows if row.averaged and self.measured.of(row, "2")]
        rivals = [row for row in self.networks if row not in self.leaders]
        of = "other network" if len(self.leaders) == 1 else "network other than MESR"
        for mesr in self.leaders:
            found.append((mesr, rivals, of))
            found.append((mesr, averaged, "network averaged over eight orientations"))
        known = [row for row in self.rows if row.trainings and not row.control and self.measured.of(row, "2")]
        if compound := leader_of(known, self._second):
            second = [row for row in known if SYSTEMS[row.system].origin and row is not compound]
            found.append((compound, second, "other network with a second stage"))
        for alone in (row for row in self.rows if row.control and row.system == "mesr" and _one_scale(row)):
            rivals = [row for row in self.networks if _one_scale(row) and _samples(row) == _samples(alone)]
            found.append((alone, rivals, "network of one scale and as many samples"))
        return [(row, others, of) for row, others, of in found if others]

    def margin(self, ours: Row, site: str) -> str:
        """Whether a MESR is ahead of MetaRDN by as much as the paper says of its own; empty where that is not measured."""
        theirs = leader_of(self.networks, "meta-rdn")
        found = self.ahead(ours, theirs, "2", site=site) if theirs else None
        if not (theirs and found):
            return ""
        printed = paper()["table2"]
        aim = printed["Ours"]["psnr"] - printed["MetaRDN"]["psnr"]
        word = verdict(found, beyond=aim, chance=self._by_chance("2", "psnr", site))
        inside = self.ahead(ours, theirs, "2", IN_BODY[0], site)
        told = (
            f"{ours.title} ahead of {theirs.title} by the paper's {aim:.2f} dB, {self.measured.place(site, [ours])}, ×2:"
            f" {word}, {interval(found)} dB{self._each(ours, theirs, 'psnr', site)}; inside the body {interval(inside)} dB"
            f"{self._each(ours, theirs, IN_BODY[0], site)}"
        )
        if inside is None or not inside.mean < 0 < found.mean:
            return told
        if verdict(inside, chance=self._by_chance("2", IN_BODY[0], site)) != NO:
            return told
        return f"{told}, so that what it gains lies outside. Ahead of it inside are {self._ahead_inside(ours, site)}"

    def _each(self, ours: Row, theirs: Row, measure: str, site: str) -> str:
        """What each training of a system is ahead by, where there are several: ` (+0.20 and +0.10 by training)`."""
        several = self.trainings_of(ours)
        found = [
            self.measured.difference(one, self.trainings_of(theirs), "2", measure, site) for one in several
        ]
        means = [f"{one.mean:+.2f}" for one in found if one]
        return f" ({' and '.join(means)} by training)" if len(means) > 1 else ""

    def _ahead_inside(self, ours: Row, site: str) -> str:
        """Which networks are ahead of a row inside the body at ×2, and by how much; then those that may be."""
        chance = self._by_chance("2", IN_BODY[0], site)
        found = [
            (difference, row)
            for row in self.networks
            if row is not ours
            and (difference := self.ahead(row, ours, "2", IN_BODY[0], site))
            and difference.mean > 0
        ]
        found.sort(key=lambda one: -one[0].mean)
        told: dict[str, list[str]] = {YES: [], UNDECIDED: []}
        for difference, row in found:
            word = verdict(difference, chance=chance)
            told[word].append(f"{named(row)} {interval(difference)}")
        undecided = f"; undecided are {', '.join(told[UNDECIDED])}" if told[UNDECIDED] else ""
        return f"{', '.join(told[YES])}{undecided}"

    def ahead(
        self, row: Row, other: Row, scale: str, measure: str = "psnr", site: str = ""
    ) -> Difference | None:
        """What a row is ahead of another by; of what was trained with another seed too, the mean of both."""
        own, theirs = self.trainings_of(row), self.trainings_of(other)
        return self.measured.difference(own, theirs, scale, measure, site)

    def trainings_of(self, row: Row) -> tuple[Row, ...]:
        """A row and, where it was trained with another seed, that one."""
        return next((both for both in self._seeds if both[0] is row), (row,))

    def weakest(self, row: Row, others: Sequence[Row], site: str, measure: str) -> Judged | None:
        """The verdict that decides whether a row is ahead of every other at ×2; None where nothing is measured."""
        lower = measure == "nrmse"
        chance = self._by_chance("2", measure, site)
        found = []
        for other in others:
            ahead = self.ahead(row, other, "2", measure, site)
            if ahead is not None:
                found.append(Judged(verdict(ahead, lower, chance=chance), ahead, other))
        found.sort(key=lambda one: (WEAKEST.index(one.word), -one.ahead.mean if lower else one.ahead.mean))
        if not found or found[0].word == YES:
            return found[0] if found else None
        alike = tuple(one.rival for one in found[1:] if one.word == found[0].word)
        rest = (one.rival for one in found if one.word == UNDECIDED)
        return found[0]._replace(others=alike, undecided=tuple(rest) if found[0].word == NO else ())

    def at_every_scale(self) -> str:
        """Markdown: whether each of `PAIRS` is in order, by site and scale."""
        scales = max((row.scales for row in self.wide), key=len, default=())
        body = []
        for own, other in self.pairs():
            for name, title, digits in (MEASURES[0], IN_BODY):
                for site in self.sites:
                    found = [self.pair(own, other, scale, site, name) for scale in scales]
                    if any(found):
                        cells = (
                            f"{one.word} {interval(one.ahead, digits)}" if one else NONE for one in found
                        )
                        place = self.measured.place(site, [own])
                        body.append([f"{own.title} ahead of {other.title}", title, place, *cells])
        header = ["claim", "measure [95 %]", "site", *(f"×{scale}" for scale in scales)]
        return markdown(header, body) if body else ""

    def pairs(self) -> list[tuple[Row, Row]]:
        """Those of `PAIRS` of which something is measured."""
        networks = [row for row in self.wide if row.trainings and not row.control and self.measured.of(row)]
        # A family answers more scales than its members.
        networks.sort(key=lambda row: -len(row.scales))
        return [
            (own, other)
            for ours, theirs in PAIRS
            for own in networks
            if own.system == ours and (other := leader_of(networks, theirs))
        ]

    def pair(self, own: Row, other: Row, scale: str, site: str, measure: str = "psnr") -> Judged | None:
        """Whether one is ahead of another; None where that is not measured."""
        ahead = self.ahead(own, other, scale, measure, site)
        if ahead is None:
            return None
        return Judged(verdict(ahead, chance=self._by_chance(scale, measure, site)), ahead, other)

    def _before(self, row: Row, others: Sequence[Row], of: str) -> str:
        body = []
        for site in self.sites:
            found = [(self.weakest(row, others, site, name), digits) for name, _, digits in JUDGED]
            if any(one for one, _ in found):
                cells = (_against(one, digits) if one else NONE for one, digits in found)
                body.append([self.measured.place(site, [row]), *cells])
        if not body:
            return ""
        claim = f"**{row.title} ahead of every {of} measured, {len(others)} of them, ×2**"
        return f"{claim}\n\n{markdown(['site', *(title for _, title, _ in JUDGED)], body)}"

    def _holds(self) -> str:
        names = ", ".join(base.title for base, _ in self._seeds)
        elsewhere = ELSEWHERE if self._elsewhere else ""
        told = (
            SEEDS.format(networks=names, odds=len(self._seeds) + 1, elsewhere=elsewhere)
            if names
            else NO_SEEDS
        )
        return HOLDS.format(seeds=told)

    def _by_chance(self, scale: str, measure: str, site: str) -> float:
        """The most that another seed of a system moved that mean by, at ×2 where not at the scale; 0 where none is measured."""
        found = [0.0]
        for base, again in self._seeds:
            moved = (self.measured.difference(again, base, at, measure, site) for at in (scale, "2"))
            found += [abs(one.mean) for one in moved if one][:1]
        return max(found)


def named(row: Row) -> str:
    """A system without its size, which its own row tells; with it among those trained for longer, where MESR has two."""
    if row.system not in SYSTEMS or row.control:
        return row.title
    if row.group in (LONGER, VARIED):
        return row.title.partition(f", {row.trainings[0].config.steps:,} steps")[0]
    return SYSTEMS[row.system].title


def _against(one: Judged, digits: int) -> str:
    also = f"; and {', '.join(row.title for row in one.others)}" if one.others else ""
    rest = f"; undecided: {', '.join(row.title for row in one.undecided)}" if one.undecided else ""
    return f"{one.word}, {interval(one.ahead, digits)} against {one.rival.title}{also}{rest}"


def leader_of(rows: Sequence[Row], system: str) -> Row | None:
    """The row that stands for a system."""
    return next((row for row in rows if row.system == system and not row.control), None)


def _seeds(rows: Sequence[Row], measured: Measured) -> list[tuple[Row, Row]]:
    """Every row that stands for a system and that of another seed, where both are measured."""
    there = [row for row in rows if row.trainings and measured.of(row)]
    again = {row.trainings[0].name: row for row in there if row.control and not row.averaged}
    standing = [
        (row, of_another_seed(row.trainings[0]).name) for row in there if not row.control and not row.family
    ]
    return [(row, again[name]) for row, name in standing if name in again]


def _one_scale(row: Row) -> bool:
    """Whether every sample its network saw was of ×2."""
    return not row.family and [one.config.sampling.scales for one in row.trainings] == [[2.0]]


def _samples(row: Row) -> list[int]:
    return [one.samples for one in row.trainings]
