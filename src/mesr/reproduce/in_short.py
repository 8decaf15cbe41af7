"""The head of the document: what was to be shown on equal terms in a few sentences, then a line for each claim and where it holds."""

from __future__ import annotations

from collections.abc import Sequence

from ..tables import markdown
from .measured import MEASURES, NONE, Measured, interval, spread
from .plan import EQUAL, JUDGED_PARTS, LONGER, PUBLISHED, SCANNED
from .rows import Row
from .verdicts import IN_BODY, NO, UNDECIDED, WEAKEST, YES, Verdicts, leader_of, named

NAMED = 3
"""Rivals at most that a cell names."""

SPOKEN = (YES, UNDECIDED, NO)
"""Verdicts in the order of the table's columns."""

AHEAD = {YES: "ahead on", UNDECIDED: "undecided on", NO: "not ahead on"}
"""Verdicts of a pair, in a sentence."""

SHIPPED_ARE = "* What mesr ships are [other networks](#what-differs-and-why), trained for longer."

HOW = (
    "Undecided is also what one more training could turn: where the difference is less than another seed has moved such a mean, though its"
    " interval be clear ([what holds](#on-equal-terms-what-holds)). PSNR is of the whole slice where no body is named. For what was trained for longer, as"
    " published or on one patient, no other seed was trained, and that of the part on equal terms stands for it. MR is not judged: the networks learned from CT."
)


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
    body = []
    for group, held in parts_of_table2.items():
        told = {LONGER: _steps(held), PUBLISHED: ", all as published"}.get(group, "")
        body += _at_twice(held, told)
        for own, other in held.pairs():
            scales = [scale for scale in own.scales if scale in other.scales]
            several = ", a network for each whole scale" if other.family else ""
            claim = f"{named(own)} ahead of {named(other)}{several}{told}"
            for measure, where in ((MEASURES[0], ""), (IN_BODY, " inside the body")):
                places, at_twice = (
                    [site for site in sites if _scales_at(held, own, other, of, site, measure)]
                    for of in (scales, ["2"])
                )
                only = f", {', '.join(places)} alone" if len(places) < len(sites) else ""
                found = _by_scale(held, own, other, scales, measure)
                body.append([claim, f"PSNR{where} at every scale{only}", *found])
                if len(places) < len(at_twice):
                    found = _by_scale(held, own, other, ["2"], measure)
                    body.append([claim, f"PSNR{where} at ×2, every site", *found])
    elsewhere = [site for site in sites if any(site in row.sites for row in table3)]
    for group in dict.fromkeys(row.group for row in table3):
        own_rows = [row for row in table3 if row.group == group]
        body += _at_twice(Verdicts(own_rows, table2, measured, elsewhere), f", all trained on {group} only")
    if not body:
        return ""
    held = parts_of_table2[EQUAL]
    sentences = [
        *_sentences(held, headline),
        *_scanned(table1, measured, headline),
        *_on_one_site(table3, measured),
        SHIPPED_ARE,
    ]
    parts = ["\n".join(sentences), _leads(held, measured), "### Claims, one by one"]
    columns = (f"{_spoken(word)}, at" for word in SPOKEN)
    parts += [
        markdown(["claim, on equal terms unless it says otherwise", "measured by", *columns], body),
        HOW,
    ]
    parts += [f"{margin}."] if (margin := held.margin(headline)) else []
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
    row, others, of = next(iter(held.claims()), (ours, [], ""))
    if others:
        whole, inside = (_placed(held, row, others, measures) for measures in (MEASURES, (IN_BODY,)))
        told.append(
            f"* **Beside every {of} trained alike**, {len(others)} of them, at ×2: by PSNR, SSIM and NRMSE {whole}; by PSNR inside the body {inside}."
        )
    if rival := leader_of(held.networks, "meta-rdn"):
        whole, inside = (
            interval(held.ahead(ours, rival, "2", measure, headline)) for measure in ("psnr", IN_BODY[0])
        )
        where = headline or "all sites"
        told.append(f"* **Beside {named(rival)}**, {where}, ×2: {whole} dB, inside the body {inside}.")
        if printed := leader_of(held.networks, "mesr-paper"):
            found = interval(held.ahead(printed, rival, "2", "psnr", headline))
            told.append(f"* **The paper's own network** beside it, trained alike, there: {found} dB.")
    for lite, rival in held.pairs():
        if (lite.system, rival.system) == ("mesr-lite", "miassr"):
            scales = [scale for scale in lite.scales if scale in rival.scales]
            found_at = zip(SPOKEN, _by_scale(held, lite, rival, scales, MEASURES[0]), strict=True)
            where = "; ".join(f"{AHEAD[word]} {places}" for word, places in found_at if places != NONE)
            told.append(
                f"* **{named(lite)} beside {named(rival)}**, a network of its size, PSNR at every scale: {where}."
            )
    return told


def _scanned(table1: Sequence[Row], measured: Measured, headline: str) -> list[str]:
    """What is made of simulated CBCT at ×2."""
    rows = [row for row in table1 if row.group == SCANNED and row.system in ("bicubic", "mesr")]
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
    found: dict[str, list[str]] = {word: [] for word in SPOKEN}
    for site in held.sites:
        there = [one.word for name, _, _ in measures if (one := held.weakest(row, others, site, name))]
        if there:
            found[min(there, key=WEAKEST.index)].append(site)
    words = ((YES, "first on"), (UNDECIDED, "undecided on"), (NO, "not first on"))
    return ", ".join(f"{said} {', '.join(found[word])}" for word, said in words if found[word])


def _leads(held: Verdicts, measured: Measured) -> str:
    """Markdown of MESR at ×2 on every site, beside what is used today and beside MetaRDN; empty where it is not measured."""
    ours = held.leader
    if ours is None:
        return ""
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


def _steps(held: Verdicts) -> str:
    """That networks were trained for longer than the others."""
    return next((f", all after {row.trainings[0].config.steps:,} steps" for row in held.networks), "")


def _at_twice(held: Verdicts, told: str = "") -> list[list[str]]:
    """Two lines for each of the claims, whole and inside the body."""
    body = []
    for row, others, of in held.claims():
        own = [named(other) for other in others if other.system.startswith("mesr")]
        among = f", {' and '.join(dict.fromkeys(own))} among them" if own and len(others) > len(own) else ""
        claim = f"{named(row)} ahead of every {of}, of {len(others)}{among}{told}"
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
        weak: dict[tuple[str, str], list[str]] = {}
        for title, one in there.items():
            if one.word != YES:
                weak.setdefault((one.word, _rivals((one.rival, *one.others))), []).append(title)
            if one.undecided:
                weak.setdefault((UNDECIDED, _rivals(one.undecided)), []).append(title)
        against = (
            f"{'' if told == word else f'{_spoken(told)}: '}{', '.join(titles) if len(measures) > 1 else ''} against {rivals}"
            for (told, rivals), titles in sorted(weak.items(), key=lambda one: WEAKEST.index(one[0][0]))
        )
        reasons = "; ".join(" ".join(one.split()) for one in against)
        found[word].append(site if word == YES else f"{site} ({reasons})")
    return [", ".join(places) or NONE for places in found.values()]


def _rivals(rows: Sequence[Row]) -> str:
    """Some of their names, and how many more there are."""
    names = list(map(named, rows))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _by_scale(
    held: Verdicts, own: Row, other: Row, scales: Sequence[str], measure: tuple[str, str, int]
) -> list[str]:
    """Sites measured at each scale by verdict, `head (×3.5, ×4)` where it is not yes at each."""
    found: dict[str, list[str]] = {word: [] for word in SPOKEN}
    for site in held.sites:
        there = _scales_at(held, own, other, scales, site, measure)
        if not there:
            continue
        word = min(there.values(), key=WEAKEST.index)
        of = {told: ", ".join(f"×{scale}" for scale, one in there.items() if one == told) for told in SPOKEN}
        rest = f"; undecided {of[UNDECIDED]}" if word == NO and of[UNDECIDED] else ""
        found[word].append(site if word == YES or len(scales) == 1 else f"{site} ({of[word]}{rest})")
    return [", ".join(places) or NONE for places in found.values()]


def _scales_at(
    held: Verdicts, own: Row, other: Row, scales: Sequence[str], site: str, measure: tuple[str, str, int]
) -> dict[str, str]:
    """The verdict at each scale; nothing where a scale is not measured."""
    there = {scale: one.word for scale in scales if (one := held.pair(own, other, scale, site, measure[0]))}
    return there if len(there) == len(scales) else {}
