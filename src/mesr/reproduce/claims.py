"""A line for each thing that was to be shown, a column for each site: yes, no, undecided, and of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..tables import markdown
from .measured import MEASURES, NONE, Measured
from .plan import LONGER, PUBLISHED, VARIED
from .rows import Row
from .verdicts import IN_BODY, WEAKEST, YES, Verdicts, named

HOW = (
    "Yes is of all that the second column names; else what is not yes is named, and against whom the part's tables say. “At ×2” is where no"
    " other scale was measured. Undecided is also what one more training could turn: where the difference is less than another seed has moved such a mean, though its"
    " interval be clear ([what holds](#on-equal-terms-what-holds)). PSNR is of the whole slice where no body is named. For what was trained for longer, as"
    " published or on one patient, no other seed was trained, and that of the part on equal terms stands for it. MR is not judged: the networks learned from CT."
)

Line = tuple[str, str, Mapping[str, str]]
"""What is claimed, what it was measured by, and the cell of each site."""


def claims(
    parts: Mapping[str, Verdicts], table2: Sequence[Row], table3: Sequence[Row], measured: Measured, sites: Sequence[str],
) -> str:  # fmt: skip
    """Markdown; empty where nothing of it is measured.

    Args:
        parts: of Table 2, by their names.
        sites: of CT, which Table 2's verdicts are about; Table 3 has some of them.
    """
    lines: list[Line] = []
    for group, held in parts.items():
        told = {
            LONGER: _steps(held),
            VARIED: _steps(held, ", from varied scans"),
            PUBLISHED: ", all as published",
        }.get(group, "")
        lines += [*_at_twice(held, told), *_pairs(held, told)]
    elsewhere = [site for site in sites if any(site in row.sites for row in table3)]
    for group in dict.fromkeys(row.group for row in table3):
        own = [row for row in table3 if row.group == group]
        lines += _at_twice(Verdicts(own, table2, measured, elsewhere), f", all trained on {group} only")
    if not lines:
        return ""
    body = [[claim, by, *(cells.get(site, NONE) for site in sites)] for claim, by, cells in lines]
    return f"{markdown(['claim, on equal terms unless it says otherwise', 'measured by', *sites], body)}\n\n{HOW}"


def by_scale(held: Verdicts, own: Row, other: Row, site: str, measure: str) -> dict[str, str]:
    """The verdict at each scale that was measured: `{"×2": "yes"}`."""
    scales = [scale for scale in own.scales if scale in other.scales]
    return {f"×{scale}": one.word for scale in scales if (one := held.pair(own, other, scale, site, measure))}


def _steps(held: Verdicts, scans: str = "") -> str:
    """That networks were trained for longer than the others, and from what scans where not from the same."""
    return next((f", all after {row.trainings[0].config.steps:,} steps{scans}" for row in held.networks), "")


def _at_twice(held: Verdicts, told: str) -> list[Line]:
    """Two lines for each claim about several rivals, whole and inside the body."""
    lines: list[Line] = []
    for row, others, of in held.claims():
        own = [named(other) for other in others if other.system.startswith("mesr")]
        among = f", {' and '.join(dict.fromkeys(own))} among them" if own and len(others) > len(own) else ""
        claim = f"{named(row)} ahead of every {of}, of {len(others)}{among}{told}"
        for measures, by in (
            (MEASURES, "PSNR, SSIM, NRMSE at ×2"),
            ((IN_BODY,), "PSNR inside the body at ×2"),
        ):
            cells = {}
            for site in held.sites:
                judged = ((title, held.weakest(row, others, site, name)) for name, title, _ in measures)
                if words := {title.split(",")[0]: one.word for title, one in judged if one}:
                    cells[site] = _cell(words)
            lines.append((claim, by, cells))
    return lines


def _pairs(held: Verdicts, told: str) -> list[Line]:
    """Two lines for each claim about one rival at every scale, whole and inside the body."""
    lines: list[Line] = []
    for own, other in held.pairs():
        several = ", a network for each whole scale" if other.family else ""
        claim = f"{named(own)} ahead of {named(other)}{several}{told}"
        for measure, inside in (("psnr", ""), (IN_BODY[0], " inside the body")):
            found = {site: by_scale(held, own, other, site, measure) for site in held.sites}
            cells = {site: _cell(words, "at ") for site, words in found.items() if words}
            if cells:
                lines.append((claim, f"PSNR{inside} at every scale", cells))
    return lines


def _cell(words: Mapping[str, str], at: str = "") -> str:
    """One word where all are the same, `**no** SSIM; undecided PSNR, NRMSE` where not.

    Args:
        at: put before what is alone, so that nobody takes it for all.
    """
    found = {word: [what for what, one in words.items() if one == word] for word in WEAKEST}
    if len(words) == 1 and at:
        return " ".join(f"{word} {at}{what}" for what, word in words.items())
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{word} {', '.join(of)}" for word, of in found.items() if of and word != YES)
