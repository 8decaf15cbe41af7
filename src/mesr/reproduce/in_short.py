"""The head of the document: what was to be shown on equal terms in a few sentences, then each claim and where it holds (`claims`)."""

from __future__ import annotations

from collections.abc import Sequence

from ..tables import markdown
from .claims import by_scale, claims
from .measured import MEASURES, NONE, Measured, interval, spread
from .plan import EQUAL, JUDGED_PARTS, LONGER, SCANNED, VARIED
from .rows import Row
from .verdicts import IN_BODY, NO, UNDECIDED, WEAKEST, YES, Verdicts, leader_of, named

AHEAD = {YES: "ahead on", UNDECIDED: "undecided on", NO: "not ahead on"}
"""Verdicts of a pair, in a sentence."""

SHIPPED_ARE = "* What mesr ships are [other networks](#what-differs-and-why), trained for longer."


def in_short(
    table2: Sequence[Row], table3: Sequence[Row], measured: Measured, headline: str, sites: Sequence[str], table1: Sequence[Row] = (),
) -> str:  # fmt: skip
    """Markdown of what holds on equal terms, a line for each claim; empty where nothing of it is measured.

    Args:
        sites: of CT, which Table 2's verdicts are about; Table 3 has its own.
    """
    parts_of_table2 = {
        group: Verdicts([row for row in table2 if row.group == group], table2, measured, sites)
        for group in JUDGED_PARTS
    }
    told = claims(parts_of_table2, table2, table3, measured, sites)
    if not told:
        return ""
    held = parts_of_table2[EQUAL]
    sentences = [
        *_sentences(held, headline),
        *_after_more_steps(parts_of_table2[LONGER], headline, "", "[for longer](#on-equal-terms-for-longer)"),
        *_after_more_steps(
            parts_of_table2[VARIED],
            headline,
            ", from varied scans",
            "[varied scans](#on-equal-terms-for-longer-from-varied-scans)",
        ),
        *_scanned(table1, measured, headline),
        *_on_one_site(table3, measured),
        SHIPPED_ARE,
    ]
    leads = (_leads(ours, held, measured) for ours in held.leaders)
    parts = ["\n".join(sentences), *leads, "### Claims, one by one", told]
    parts += [f"{margin}." for ours in held.leaders if (margin := held.margin(ours, headline))]
    return "\n\n".join(part for part in parts if part)


def _sentences(held: Verdicts, headline: str) -> list[str]:
    """What a reader asks first of MESR at ×2, from measurements; what is not measured is left out."""
    ours = held.leader
    if ours is None:
        return []
    told = []
    if sinc := leader_of(held.rows, "sinc"):
        whole, inside = (_range(held, ours, sinc, measure) for measure in ("psnr", IN_BODY[0]))
        told.append(
            f"* **{ours.title} beside the windowed sinc**, the best of what needs no training: {whole} dB at ×2, inside the body {inside}, by site."
        )
    trained_alike = [
        claim for claim in held.claims() if claim[0] in held.leaders and not claim[1][0].averaged
    ]
    for row, others, of in trained_alike:
        whole, inside = (_placed(held, row, others, measures) for measures in (MEASURES, (IN_BODY,)))
        told.append(
            f"* **{named(row)} beside every {of} trained alike**, {len(others)} of them, at ×2: by PSNR, SSIM and NRMSE {whole}; by PSNR inside the body {inside}."
        )
    if rival := leader_of(held.networks, "meta-rdn"):
        where = headline or "all sites"
        told.append(f"* **Beside {named(rival)}**, {where}, ×2: {_leading(held, rival, headline)}.")
        if printed := leader_of(held.networks, "mesr-paper"):
            found = interval(held.ahead(printed, rival, "2", "psnr", headline))
            told.append(f"* **The paper's own network** beside it, trained alike, there: {found} dB.")
    for lite, rival in held.pairs():
        if (lite.system, rival.system) == ("mesr-lite", "miassr"):
            told.append(
                f"* **{named(lite)} beside {named(rival)}**, a network of its size, PSNR at every scale:"
                f" {_where(held, lite, rival)}."
            )
    return told


def _after_more_steps(held: Verdicts, headline: str, scans: str, part: str) -> list[str]:
    """Whether MESR's lead over MetaRDN lasts.

    Args:
        scans: what they were trained from, where it is not what all are.
        part: link to the part that says more.
    """
    rival = leader_of(held.networks, "meta-rdn")
    if rival is None or held.leader is None:
        return []
    steps = held.leader.trainings[0].config.steps
    return [
        f"* **After {steps:,} steps of both{scans}**, beside {named(rival)}, {headline or 'all sites'}, ×2:"
        f" {_leading(held, rival, headline)} ({part})."
    ]


def _leading(held: Verdicts, rival: Row, site: str) -> str:
    """What each MESR is ahead of a rival by at ×2."""
    told = []
    for ours in held.leaders:
        ahead = (held.ahead(ours, rival, "2", name, site) for name in ("psnr", IN_BODY[0]))
        whole, inside = map(interval, ahead)
        told.append(f"{named(ours)} {whole} dB, inside the body {inside}")
    return "; ".join(told)


def _where(held: Verdicts, own: Row, other: Row) -> str:
    """`ahead on lung; undecided on pelvis (×2, ×3)`: sites by the weakest of their scales' verdicts."""
    found: dict[str, list[str]] = {word: [] for word in AHEAD}
    for site in held.sites:
        if words := by_scale(held, own, other, site, "psnr"):
            weakest = min(words.values(), key=WEAKEST.index)
            at = ", ".join(scale for scale, word in words.items() if word == weakest)
            found[weakest].append(site if weakest == YES else f"{site} ({at})")
    return "; ".join(f"{AHEAD[word]} {', '.join(places)}" for word, places in found.items() if places)


def _scanned(table1: Sequence[Row], measured: Measured, headline: str) -> list[str]:
    """What is made of simulated CBCT at ×2."""
    rows = [row for row in table1 if row.group == SCANNED and row.system in ("bicubic", "mesr", "mesr-paper")]
    known = [
        f"{row.title} {spread(mean, 2)}" for row in rows if (mean := measured.mean(row, "2", site=headline))
    ]
    if len(known) < 2:
        return []
    return [f"* **[{SCANNED}](#table-1-six-scales)**, {headline or 'all sites'}, ×2, dB: {'; '.join(known)}."]


def _on_one_site(table3: Sequence[Row], measured: Measured) -> list[str]:
    """What MESR that learned from one site is ahead of its nearest rival there by, on the others."""
    ours, rival = (leader_of(table3, name) for name in ("mesr", "rdn"))
    if ours is None or rival is None:
        return []
    found = {
        site: [interval(measured.lead(ours, rival, "2", name, site)) for name in ("psnr", IN_BODY[0])]
        for site in ours.sites
    }
    known = [
        f"{site} {whole} dB, inside the body {inside}"
        for site, (whole, inside) in found.items()
        if whole != NONE
    ]
    return (
        [
            f"* **[Trained on {ours.group} only](#table-3-other-sites)**, beside {named(rival)}, ×2: {'; '.join(known)}."
        ]
        if known
        else []
    )


def _range(held: Verdicts, ours: Row, other: Row, measure: str) -> str:
    """From the least to the most that a row is ahead of another on a site of CT: `+0.8 to +7.1`."""
    found = [ahead.mean for site in held.sites if (ahead := held.ahead(ours, other, "2", measure, site))]
    return f"{min(found):+.1f} to {max(found):+.1f}" if found else NONE


def _placed(held: Verdicts, row: Row, others: Sequence[Row], measures: Sequence[tuple[str, str, int]]) -> str:
    """Where it is first, where that is undecided and where it is not."""
    found: dict[str, list[str]] = {word: [] for word in AHEAD}
    for site in held.sites:
        there = [one.word for name, _, _ in measures if (one := held.weakest(row, others, site, name))]
        if there:
            found[min(there, key=WEAKEST.index)].append(site)
    words = ((YES, "first on"), (UNDECIDED, "undecided on"), (NO, "not first on"))
    return ", ".join(f"{said} {', '.join(found[word])}" for word, said in words if found[word])


def _leads(ours: Row, held: Verdicts, measured: Measured) -> str:
    """Markdown of a MESR at ×2 on every site, beside what is used today and beside MetaRDN."""
    others = [
        ("the windowed sinc", leader_of(held.rows, "sinc")),
        ("MetaRDN", leader_of(held.networks, "meta-rdn")),
    ]
    rivals = [(title, row) for title, row in others if row]
    body = []
    for site in measured.sites([ours]):
        found = measured.of(ours, "2", site)
        share = sum(one.pixels_body for one in found) / sum(one.rows * one.columns for one in found)
        cells = [spread(measured.mean(held.trainings_of(ours), "2", site=site), 2), f"{share:.0%}"]
        for _, row in rivals:
            cells += [interval(held.ahead(ours, row, "2", name, site)) for name in ("psnr", IN_BODY[0])]
        body.append([measured.place(site, [ours]), *cells])
    heads = (f"minus {title}{where}, dB [95 %]" for title, _ in rivals for where in ("", ", inside the body"))
    several = len(held.trainings_of(ours))
    mean = f", mean of {several} trainings" if several > 1 else ""
    return markdown([f"{ours.title}, ×2{mean}", "PSNR, dB", "body, of the slice", *heads], body)
