"""What each step from a plain first convolution to MESR gave, against MetaRDN and MIASSR: the way towards the paper's margin."""

from __future__ import annotations

from collections.abc import Sequence

from ..tables import markdown
from .measured import Measured, interval, spread
from .plan import on_equal_terms
from .rows import Row
from .verdicts import IN_BODY, leader_of, named

STEPS = (
    ("mesr-lite-plain-stem", "16 blocks, bicubic skip, plain first convolution"),
    (
        "mesr-lite-differences",
        "a first convolution of differences between pixels, which no added constant changes",
    ),
    ("mesr-lite", "these differences gated by level and contrast"),
    ("mesr-lite-two-orientations", "mean of two orientations"),
    ("mesr", "mean of four: MESR"),
    ("mesr-16x8", "mean of eight"),
)
"""Trainings by their names without the budget's, and what each has other than the one before."""

RIVALS = ("meta-rdn", "miassr")
"""Whom the steps are held against; the paper's margin is over the first."""


def ladder(table2: Sequence[Row], ablations: Sequence[Row], measured: Measured, site: str) -> str:
    """Markdown of each step's PSNR at ×2 and its lead over MetaRDN and MIASSR, whole and inside the body; empty where a step or MetaRDN is not measured.

    Args:
        site: the headline's; empty for all sites together.
    """
    equal = [row for row in table2 if on_equal_terms(row) and measured.of(row, "2", site)]
    rivals = [row for name in RIVALS if (row := leader_of(equal, name))]
    if not rivals or rivals[0].system != RIVALS[0]:
        return ""
    prefix = rivals[0].trainings[0].name.removesuffix(RIVALS[0])
    known = {
        row.method.removeprefix(prefix): row for row in [*ablations, *equal] if measured.of(row, "2", site)
    }
    if not {name for name, _ in STEPS} <= known.keys():
        return ""
    places = [(rival, measure) for rival in rivals for measure in ("psnr", IN_BODY[0])]
    body = [
        [
            title, spread(measured.mean(known[name], "2", site=site), 2),
            *(interval(measured.difference(known[name], rival, "2", measure, site)) for rival, measure in places),
        ]
        for name, title in STEPS
    ]  # fmt: skip
    heads = (head for rival in rivals for head in (f"minus {named(rival)}, dB [95 %]", "inside the body"))
    return markdown([f"×2, {measured.place(site, rivals[:1])}", "PSNR, dB", *heads], body)
