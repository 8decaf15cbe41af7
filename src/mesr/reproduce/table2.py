"""Table 2 as Markdown: every system at ×2, by site and by scale, and what MESR gains."""

from __future__ import annotations

from collections.abc import Sequence

from ..tables import markdown
from .measured import MEASURES, NONE, Measured, interval, millions, spread
from .paper import paper
from .plan import EQUAL, JUDGED_PARTS, LASTING, LEADERS, LONGER, PUBLISHED, SHIPPED, VARIED
from .rows import Row, before
from .verdicts import IN_BODY, Verdicts, leader_of, named

TOLD = {
    LONGER: "Beside them stand the same systems from the part on equal terms. A step of MESR is four of mesr-lite's in work.",
    VARIED: "The same trainings, but that every reference is also made sharper or softer, and half of them coarser by up to 2, as the shipped networks"
    " have it (docs/explanation/choices.md), and that of MESR in eight orientations, which is twice its work. Beside them stand those of the part before.",
    SHIPPED: "Beside what is shipped stand networks of the part on equal terms, which had far fewer steps.",
    PUBLISHED: "Each from its own beginning, at its own rate, for the steps of this budget, which are far fewer than its authors': the"
    " order says how far each comes in these few steps, and nothing about its end.",
}
"""What a reader of a part is told first."""

BESIDE = {
    LONGER: (EQUAL, LASTING), VARIED: (LONGER, LASTING), SHIPPED: (EQUAL, ("meta-rdn", "mesr-lite", "mesr")),
}  # fmt: skip
"""Part to another part, systems of which it shows beside its own."""

BODY = (
    ("psnr_body", "PSNR, dB", 2), ("mae_body", "MAE, HU", 2), ("rmse_body", "RMSE, HU", 2),
    ("mae_above", "MAE where the truth is above 1000 HU, HU", 1),
)  # fmt: skip
"""The protocol's measures inside the body."""


def table2(rows: Sequence[Row], measured: Measured, headline: str, ct: Sequence[str]) -> str:
    """Its parts at ×2 on the headline site, then every site, then every scale.

    Args:
        ct: sites of CT, which the verdicts are about.
    """
    parts = []
    for group in LEADERS:
        there = [row for row in rows if row.group == group]
        if not there:
            continue
        leader = leader_of(there, LEADERS[group][0])
        shown = [*there, *_beside(group, rows)]
        # At ×2 a family's first member answers, which has a row of its own.
        own = [row for row in shown if "2" in row.scales and not row.family]
        wide = [row for row in shown if row.scales != ("2",)]
        parts += [f"### {group}", TOLD.get(group, ""), _systems(own, measured, headline, leader)]
        if group in JUDGED_PARTS:
            held = Verdicts(there, rows, measured, ct)
            parts += _titled(f"### {group}, what holds", held.text(headline))
            parts += _titled(f"### {group}, what holds at every scale", held.at_every_scale())
        parts += _titled(f"### {group}, inside the body", _in_body(own, measured, headline, leader))
        parts += _titled(f"### {group}, every site", _by_site(own, measured, "2", leader))
        parts += _titled(f"### {group}, every scale", _by_scale(wide, measured, headline, leader))
        parts += _titled(f"### {group}, what a second stage changes", _second_stage(own, measured))
    return "\n\n".join(part for part in parts if part)


def _beside(group: str, rows: Sequence[Row]) -> list[Row]:
    """Rows of another part that a part shows as well."""
    part, systems = BESIDE.get(group, ("", ()))
    return [
        row
        for row in rows
        if row.group == part and row.system in systems and not row.control and not row.family
    ]


def _titled(title: str, text: str) -> list[str]:
    return [title, text] if text else []


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
                f"{answering.samples_at:,}{_turned(row)}" if answering else NONE,
            ]
        )  # fmt: skip
    there = any(measured.of(row, "2", site) for row in rows)
    title = f"×2, {measured.place(site, rows)}." if there else "Nothing is measured yet."
    header = [
        "system", "PSNR, dB", "SSIM", "NRMSE", _minus(leader),
        "paper: PSNR", "paper: SSIM", "paper: NRMSE", "parameters", "paper: parameters", "multiply-adds a low-resolution pixel",
        "samples at ×2",
    ]  # fmt: skip
    return f"{title}\n\n{markdown(header, body)}"


def _turned(row: Row) -> str:
    """That each sample is learned from in several orientations."""
    one = row.training_at("2")
    count = one.config.model.args.get("orientations", 1) if one else 1
    return f", each in {count} orientations" if count > 1 else ""


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
    return f"{named(leader) if leader else 'MESR'} minus it, dB [95 %]"


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
                body.append([f"   {named(leader)} minus it", *gains])
        parts.append(markdown([title, *heads], body))
    return "\n\n".join(parts)


def _by_scale(rows: Sequence[Row], measured: Measured, site: str, leader: Row | None) -> str:
    """Each measure at every scale, and for PSNR, whole and inside the body, how the leader differs."""
    there = [row for row in rows if measured.of(row)]
    scales = max((row.scales for row in there), key=len, default=())
    parts = []
    for name, title, digits in (*MEASURES, IN_BODY) if there else ():
        body = []
        for row in there:
            body.append(
                [row.title, *(spread(measured.mean(row, scale, name, site), digits) for scale in scales)]
            )
            if leader is not None and row is not leader and name in ("psnr", IN_BODY[0]):
                gains = (interval(measured.difference(leader, row, scale, name, site)) for scale in scales)
                body.append([f"   {named(leader)} minus it", *gains])
        head = f"{title}, {measured.place(site, there)}"
        parts.append(markdown([head, *(f"×{scale}" for scale in scales)], body))
    return "\n\n".join(parts)


def _second_stage(rows: Sequence[Row], measured: Measured) -> str:
    """At ×2, what perceptual and adversarial terms changed at every site."""
    pairs = [(row, start) for row in rows if (start := before(row, rows)) and not row.control]
    pairs = [(row, start) for row, start in pairs if measured.of(row, "2") and measured.of(start, "2")]
    sites = measured.sites(row for row, _ in pairs)
    parts = []
    for name, title, digits in (MEASURES[0], IN_BODY, MEASURES[1]) if pairs else ():
        body = [
            [
                f"{row.title} minus {start.title}",
                *(interval(measured.difference(row, start, "2", name, site), digits) for site in sites),
            ]
            for row, start in pairs
        ]
        heads = (measured.place(site, [row for row, _ in pairs]) for site in sites)
        parts.append(markdown([f"{title} [95 %]", *heads], body))
    return "\n\n".join(parts)
