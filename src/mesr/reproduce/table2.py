"""Table 2 as Markdown: every system at ×2, by site and by scale, what MESR gains, and what of that is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..tables import Difference, markdown
from .measured import MEASURES, NONE, Measured, interval, millions, spread
from .paper import paper
from .plan import EQUAL, LONGER, PUBLISHED, SHIPPED
from .rows import Row
from .trainings import of_another_seed

LEADERS = {EQUAL: "mesr", LONGER: "mesr", SHIPPED: "mesr-1", PUBLISHED: "mesr-paper"}
"""The system that every other is compared with, in each part of Table 2."""

JUDGING = (EQUAL, LONGER)
"""The parts that something is to be shown by."""

HOLDS = (
    "Yes or no where the whole interval says so, and the difference is no less than what another seed of either network"
    " moves that very mean by. That is measured of MetaRDN-A, MIASSR, mesr-lite and MESR alone, everywhere at ×2 and on the"
    " headline site at every scale; elsewhere the interval decides. Sites with one patient say nothing about other patients."
)

IN_BODY = ("psnr_body", "body PSNR, dB", 2)
JUDGED = (*MEASURES, IN_BODY)
"""What the verdicts are about: the paper's three, and what air cannot flatter."""

BODY = (
    ("psnr_body", "PSNR, dB", 2), ("mae_body", "MAE, HU", 2), ("rmse_body", "RMSE, HU", 2),
    ("mae_above", "MAE above 1000 HU, HU", 1),
)  # fmt: skip
"""The protocol's measures inside the body."""


def table2(rows: Sequence[Row], measured: Measured, headline: str, ct: Sequence[str]) -> str:
    """Its parts at ×2 on the headline site, then every site, then every scale.

    Args:
        ct: sites of CT, which the verdicts are about.
    """
    parts = []
    for group in LEADERS:
        own = [row for row in rows if row.group == group and "2" in row.scales]
        if not own:
            continue
        wide = [row for row in rows if row.group == group and row.scales != ("2",)]
        leader = leader_of(own, LEADERS[group])
        parts += [f"### {group}", _systems(own, measured, headline, leader)]
        if group in JUDGING:
            parts += _titled(f"### {group}, what holds", _verdicts(own, measured, headline, ct))
            parts += _titled(f"### {group}, what holds at every scale", _ahead(wide, own, measured, ct))
        parts += _titled(f"### {group}, inside the body", _in_body(own, measured, headline, leader))
        parts += _titled(f"### {group}, every site", _by_site(own, measured, "2", leader))
        parts += _titled(f"### {group}, every scale", _by_scale(wide, measured, headline, leader))
    return "\n\n".join(part for part in parts if part)


def _ahead(rows: Sequence[Row], seeds: Sequence[Row], measured: Measured, ct: Sequence[str]) -> str:
    """Whether our networks are before the others that have a head for every scale, and MESR before mesr-lite, by site.

    Args:
        seeds: rows among which those of another seed are.
    """
    networks = [row for row in rows if row.trainings and not row.control and measured.of(row)]
    leaders = {name: leader_of(networks, name) for name in ("mesr", "mesr-lite", "meta-rdn", "miassr")}
    scales = max((row.scales for row in rows), key=len, default=())
    body = []
    for ours, theirs in (
        ("mesr", "meta-rdn"),
        ("mesr", "miassr"),
        ("mesr", "mesr-lite"),
        ("mesr-lite", "miassr"),
    ):
        own, other = leaders[ours], leaders[theirs]
        if own is None or other is None:
            continue
        for name, title, digits in (MEASURES[0], IN_BODY):
            for site in ct:
                found = [measured.difference(own, other, scale, name, site) for scale in scales]
                if any(found):
                    chance = (_by_chance((own, other), seeds, measured, s, name, site) for s in scales)
                    cells = (
                        f"{verdict(one, chance=moved)} {interval(one, digits)}" if one else NONE
                        for one, moved in zip(found, chance, strict=True)
                    )  # fmt: skip
                    place = measured.place(site, [own])
                    body.append([f"{own.title} before {other.title}", title, place, *cells])
    return (
        markdown(["to be shown", "measure [95 %]", "site", *(f"×{scale}" for scale in scales)], body)
        if body
        else ""
    )


def _by_chance(
    pair: Sequence[Row], rows: Sequence[Row], measured: Measured, scale: str, measure: str, site: str
) -> float:
    """What another seed moves the mean of either of two rows by, the larger; 0 where that is not measured."""
    found = [0.0]
    for row in pair:
        again = {of_another_seed(one).name for one in row.trainings[:1]}
        for other in rows:
            if other.control and not other.averaged and {one.name for one in other.trainings} == again:
                moved = measured.difference(other, row, scale, measure, site)
                found += [abs(moved.mean)] if moved else []
    return max(found)


def _titled(title: str, text: str) -> list[str]:
    return [title, text] if text else []


def leader_of(rows: Sequence[Row], system: str) -> Row | None:
    return next((row for row in rows if row.system == system and not row.control), None)


def _systems(rows: Sequence[Row], measured: Measured, site: str, leader: Row | None) -> str:
    printed = paper()["table2"]
    body = []
    for row in rows:
        known = printed.get(row.column, {})
        missing = "failed" if measured.fate(row).status == "failed" else row.absent
        cost = row.cost
        answering = measured.answering(row, "2")
        ours = [spread(measured.mean(row, "2", name, site), digits) for name, _, digits in MEASURES]
        behind = measured.lead(leader, row, "2", site=site)
        body.append(
            [
                row.title, *([missing, "", ""] if missing else ours), interval(behind),
                *(f"{known[name]:.{digits}f}" if known else NONE for name, _, digits in MEASURES),
                millions(cost.parameters) if cost else NONE,
                known.get("parameters", NONE),
                millions(cost.pixel) if cost else NONE,
                f"{answering.samples_at:,}" if answering else NONE,
            ]
        )  # fmt: skip
    there = any(measured.of(row, "2", site) for row in rows)
    title = f"×2, {measured.place(site, rows)}." if there else "Nothing is measured yet."
    header = [
        "system", "PSNR, dB", "SSIM", "NRMSE", _minus(leader),
        "paper: PSNR", "paper: SSIM", "paper: NRMSE", "parameters", "paper: parameters", "multiply-adds a pixel",
        "samples at ×2",
    ]  # fmt: skip
    return f"{title}\n\n{markdown(header, body)}"


def _verdicts(rows: Sequence[Row], measured: Measured, headline: str, ct: Sequence[str]) -> str:
    """What was to be shown of MESR on equal terms, and whether it is; nothing of what is not measured yet."""
    networks = [
        row for row in rows
        if row.trainings and not (row.control or row.family) and row.system != "mesr-compound" and measured.of(row, "2")
    ]  # fmt: skip
    mesr = leader_of(networks, "mesr")
    parts = []
    if mesr is not None:
        others = [row for row in networks if row is not mesr]
        parts += _before(mesr, others, rows, "other network", measured, ct)
    for alone in (row for row in rows if row.control and row.system == "mesr" and _one_scale(row)):
        rivals = [row for row in networks if _one_scale(row) and _samples(row) == _samples(alone)]
        parts += _before(alone, rivals, rows, "network of one scale and as many samples", measured, ct)
    parts += _margin(mesr, leader_of(networks, "meta-rdn"), rows, measured, headline)
    return "\n\n".join([HOLDS, *parts]) if parts else ""


def _margin(
    ours: Row | None, theirs: Row | None, rows: Sequence[Row], measured: Measured, site: str
) -> list[str]:
    """Whether MESR is ahead of MetaRDN by as much as the paper says of its own."""
    found = measured.difference(ours, theirs, "2", site=site) if ours and theirs else None
    if not (ours and theirs and found):
        return []
    printed = paper()["table2"]
    aim = printed["Ours"]["psnr"] - printed["MetaRDN"]["psnr"]
    chance = _by_chance((ours, theirs), rows, measured, "2", "psnr", site)
    word = verdict(found, beyond=aim, chance=chance)
    return [
        f"{ours.title} ahead of {theirs.title} by the paper's {aim:.2f} dB, {measured.place(site, [ours])}, ×2: {word},"
        f" {interval(found)} dB."
    ]


def _before(
    row: Row, others: Sequence[Row], rows: Sequence[Row], of: str, measured: Measured, sites: Sequence[str]
) -> list[str]:
    """Whether a row is before every other at ×2, by each measure and site: the weakest verdict, and against whom.

    Args:
        rows: among which those of another seed are.
        of: what the others are, in the singular.
    """
    body = []
    for site in sites:
        cells = [_weakest(row, others, rows, measured, site, judged) for judged in JUDGED]
        if any(cells):
            body.append([measured.place(site, [row]), *(cell or NONE for cell in cells)])
    claim = f"**{row.title} before every {of} measured, {len(others)} of them, ×2**"
    return [claim, markdown(["site", *(title for _, title, _ in JUDGED)], body)] if body else []


def _weakest(
    row: Row,
    others: Sequence[Row],
    rows: Sequence[Row],
    measured: Measured,
    site: str,
    judged: tuple[str, str, int],
) -> str:
    """`yes, +0.20 [+0.15, +0.25] against mesr-lite (L1)`; empty where nothing is measured."""
    name, _, digits = judged
    lower = name == "nrmse"
    found = []
    for other in others:
        ahead = measured.difference(row, other, "2", name, site)
        if ahead is not None:
            chance = _by_chance((row, other), rows, measured, "2", name, site)
            found.append((verdict(ahead, lower, chance=chance), ahead, other))
    if not found:
        return ""
    word, ahead, rival = min(
        found, key=lambda one: (WEAKEST.index(one[0]), -one[1].mean if lower else one[1].mean)
    )
    return f"{word}, {interval(ahead, digits)} against {rival.title}"


def _one_scale(row: Row) -> bool:
    """Whether every sample its network saw was of ×2."""
    return not row.family and [one.config.sampling.scales for one in row.trainings] == [[2.0]]


def _samples(row: Row) -> list[int]:
    return [one.samples for one in row.trainings]


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


def _in_body(rows: Sequence[Row], measured: Measured, site: str, leader: Row | None) -> str:
    """At ×2: what air and clipping cannot flatter."""
    body = []
    for row in rows:
        if measured.of(row, "2", site):
            cells = (spread(measured.mean(row, "2", name, site), digits) for name, _, digits in BODY)
            body.append([row.title, *cells, interval(measured.lead(leader, row, "2", "psnr_body", site))])
    header = [f"×2, {site or 'all sites'}", *(title for _, title, _ in BODY), _minus(leader)]
    return markdown(header, body) if body else ""


def _minus(leader: Row | None) -> str:
    """The head of a column of `Measured.lead`."""
    return f"{leader.title if leader else 'MESR'} minus it, dB [95 %]"


def _by_site(rows: Sequence[Row], measured: Measured, scale: str, leader: Row | None) -> str:
    """Each measure at every site, and how the leader differs; for NRMSE less is better."""
    sites = measured.sites(rows)
    there = [row for row in rows if measured.of(row, scale)]
    heads = [measured.place(site, there, scale) for site in sites]
    parts = []
    for name, title, digits in MEASURES if sites else ():
        body = []
        for row in there:
            body.append(
                [row.title, *(spread(measured.mean(row, scale, name, site), digits) for site in sites)]
            )
            if leader is not None and row is not leader:
                gains = (
                    interval(measured.difference(leader, row, scale, name, site), digits) for site in sites
                )
                body.append([f"   {leader.title} minus it", *gains])
        parts.append(markdown([title, *heads], body))
    return "\n\n".join(parts)


def _by_scale(rows: Sequence[Row], measured: Measured, site: str, leader: Row | None) -> str:
    there = [row for row in rows if measured.of(row)]
    if not there:
        return ""
    scales = max((row.scales for row in there), key=len)
    body = []
    for row in there:
        body.append([row.title, *(spread(measured.mean(row, scale, site=site), 2) for scale in scales)])
        if leader is not None and row is not leader:
            gains = (interval(measured.difference(leader, row, scale, site=site)) for scale in scales)
            body.append([f"   {leader.title} minus it", *gains])
    return markdown([f"PSNR, dB, {measured.place(site, there)}", *(f"×{scale}" for scale in scales)], body)
