"""The head of the document: what was to be shown on equal terms, a line for each claim, and where it holds."""

from __future__ import annotations

from collections.abc import Sequence

from ..tables import markdown
from .measured import MEASURES, NONE, Measured
from .plan import EQUAL, JUDGED_PARTS, LONGER
from .rows import Row
from .verdicts import IN_BODY, NO, UNDECIDED, WEAKEST, YES, Verdicts, named

SPOKEN = (YES, UNDECIDED, NO)
"""Verdicts in the order of the table's columns."""


def in_short(
    table2: Sequence[Row], table3: Sequence[Row], measured: Measured, headline: str, sites: Sequence[str]
) -> str:
    """Markdown of what holds on equal terms, a line for each claim; empty where nothing of it is measured.

    Args:
        sites: of CT, which Table 2's verdicts are about; Table 3 has its own.
    """
    parts_of_table2 = {
        group: Verdicts([row for row in table2 if row.group == group], table2, measured, sites)
        for group in JUDGED_PARTS
    }
    body = []
    for group, held in parts_of_table2.items():
        told = _steps(held) if group == LONGER else ""
        body += _at_twice(held, told)
        for own, other in held.pairs():
            scales = [scale for scale in own.scales if scale in other.scales]
            claim = f"{named(own)} before {named(other)}{told}"
            body.append([claim, "PSNR at every scale", *_by_scale(held, own, other, scales, MEASURES[0])])
            body.append(
                [claim, "PSNR inside the body at every scale", *_by_scale(held, own, other, scales, IN_BODY)]
            )
    elsewhere = [site for site in sites if any(site in row.sites for row in table3)]
    for group in dict.fromkeys(row.group for row in table3):
        own_rows = [row for row in table3 if row.group == group]
        body += _at_twice(Verdicts(own_rows, table2, measured, elsewhere), f", all trained on {group} only")
    if not body:
        return ""
    parts = [markdown(["to be shown, on equal terms", "in", *map(_spoken, SPOKEN)], body)]
    parts.append(
        "How they are judged: [what holds](#on-equal-terms-what-holds). PSNR is of the whole slice where no body is named."
    )
    parts += [f"{margin}."] if (margin := parts_of_table2[EQUAL].margin(headline)) else []
    return "\n\n".join(parts)


def _steps(held: Verdicts) -> str:
    """That networks were trained for longer than the others."""
    return next((f", all after {row.trainings[0].config.steps:,} steps" for row in held.networks), "")


def _at_twice(held: Verdicts, told: str = "") -> list[list[str]]:
    """Two lines for each of the claims, whole and inside the body."""
    body = []
    for row, others, of in held.claims():
        claim = f"{named(row)} before every {of}, of {len(others)}{told}"
        body.append([claim, "PSNR, SSIM, NRMSE at ×2", *_by_site(held, row, others, MEASURES)])
        body.append([claim, "PSNR inside the body at ×2", *_by_site(held, row, others, (IN_BODY,))])
    return body


def _spoken(word: str) -> str:
    return word.strip("*")


def _by_site(
    held: Verdicts, row: Row, others: Sequence[Row], measures: Sequence[tuple[str, str, int]]
) -> list[str]:
    """Sites by verdict, `lung-sharp (SSIM against ESRGAN)` where it is not yes."""
    found: dict[str, list[str]] = {word: [] for word in SPOKEN}
    for site in held.sites:
        judged = {title: held.weakest(row, others, site, name) for name, title, _ in measures}
        there = {title.split(",")[0]: one for title, one in judged.items() if one}
        if not there:
            continue
        word = min((one.word for one in there.values()), key=WEAKEST.index)
        weak: dict[str, list[str]] = {}
        for title, one in there.items():
            if one.word != YES:
                rivals = ", ".join(map(named, (one.rival, *one.others)))
                weak.setdefault(rivals, []).append(
                    title if one.word == word else f"{title} {_spoken(one.word)}"
                )
        against = (
            f"{', '.join(titles)} against {rival}" if len(measures) > 1 else f"against {rival}"
            for rival, titles in weak.items()
        )  # fmt: skip
        found[word].append(site if word == YES else f"{site} ({'; '.join(against)})")
    return [", ".join(places) or NONE for places in found.values()]


def _by_scale(
    held: Verdicts, own: Row, other: Row, scales: Sequence[str], measure: tuple[str, str, int]
) -> list[str]:
    """Sites measured at each scale by verdict, `head (×3.5, ×4)` where it is not yes at each."""
    found: dict[str, list[str]] = {word: [] for word in SPOKEN}
    for site in held.sites:
        there = {scale: one for scale in scales if (one := held.pair(own, other, scale, site, measure[0]))}
        if len(there) < len(scales):
            continue
        word = min((one.word for one in there.values()), key=WEAKEST.index)
        weak = ", ".join(f"×{scale}" for scale, one in there.items() if one.word == word)
        found[word].append(site if word == YES else f"{site} ({weak})")
    return [", ".join(places) or NONE for places in found.values()]
