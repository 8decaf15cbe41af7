"""The tables of the document, as Markdown: the paper's figures beside ours, never in one cell."""

from __future__ import annotations

from collections.abc import Sequence

from ..tables import markdown
from .findings import Finding
from .measured import MEASURES, NONE, Measured, interval, millions, population, spread
from .paper import paper
from .plan import EQUAL, PUBLISHED
from .rows import Row

LEADER = "mesr"
"""The system that every other is compared with."""


def table1(rows: Sequence[Row], measured: Measured) -> str:
    """Scales across; for each measure the paper's line, then ours."""
    printed = paper()["table1"]
    parts = []
    for group in dict.fromkeys(row.group for row in rows):
        own = [row for row in rows if row.group == group]
        scales = own[0].scales
        body = []
        for name, title, digits in MEASURES:
            known = dict(zip(printed["scales"], printed[name], strict=True))
            body.append(
                [
                    f"{title}, paper",
                    *(
                        f"{known[s][0]:.{digits}f} ± {known[s][1]:.{digits}f}" if s in known else NONE
                        for s in scales
                    ),
                ]
            )
            body += [
                [f"{title}, {row.title}", *(spread(measured.mean(row, s, name), digits) for s in scales)]
                for row in own
            ]
        found = [one for row in own for one in measured.of(row)]
        heading = f"**{group}** – {where(own, measured)}: {population(found)}" if found else f"**{group}**"
        parts += [heading, markdown(["", *(f"×{scale}" for scale in scales)], body)]
    return "\n\n".join(parts)


def table2(rows: Sequence[Row], measured: Measured, headline: str) -> str:
    """Both parts at ×2 on the headline site, then every site, then every scale."""
    parts = []
    for group in (EQUAL, PUBLISHED):
        own = [row for row in rows if row.group == group and "2" in row.scales]
        parts += [f"### {group}", _systems(own, measured, headline)]
        if group == EQUAL:
            parts += [f"### {group}, every site", _by_site(own, measured, "2")]
            wide = [row for row in rows if row.group == group and row.scales != ("2",)]
            parts += [f"### {group}, every scale", _by_scale(wide, measured, headline)]
    return "\n\n".join(part for part in parts if part)


def _systems(rows: Sequence[Row], measured: Measured, site: str) -> str:
    leader = next((row for row in rows if row.system == LEADER), None)
    printed = paper()["table2"]
    body = []
    for row in rows:
        known = printed.get(row.column, {})
        missing = "failed" if measured.fate(row).status == "failed" else row.absent
        cost = measured.cost(row)
        trained = measured.trained(row)
        ours = [spread(measured.mean(row, "2", name, site), digits) for name, _, digits in MEASURES]
        behind = (
            measured.difference(leader, row, "2", site=site)
            if leader is not None and leader is not row
            else None
        )
        body.append(
            [
                row.title, *([missing, "", ""] if missing else ours), interval(behind),
                *(f"{known[name]:.{digits}f}" if known else NONE for name, _, digits in MEASURES),
                millions(cost.parameters) if cost else NONE,
                known.get("parameters", NONE),
                millions(cost.pixel) if cost else NONE,
                f"{sum(one.samples_at for one in trained):,}" if trained else NONE,
            ]
        )  # fmt: skip
    found = [one for row in rows for one in measured.of(row, "2", site)]
    title = f"×2, {site or 'all sites'}: {population(found)}." if found else "Nothing is measured yet."
    header = [
        "system", "PSNR, dB", "SSIM", "NRMSE", "MESR (L1) minus it, dB [95 %]", "paper: PSNR", "paper: SSIM",
        "paper: NRMSE", "parameters", "paper: parameters", "multiply-adds a pixel", "samples at ×2",
    ]  # fmt: skip
    return f"{title}\n\n{markdown(header, body)}"


def _by_site(rows: Sequence[Row], measured: Measured, scale: str) -> str:
    sites = measured.sites(rows)
    if not sites:
        return ""
    counts = [population([one for row in rows for one in measured.of(row, scale, site)]) for site in sites]
    body = [
        [row.title, *(spread(measured.mean(row, scale, site=site), 2) for site in sites)]
        for row in rows
        if not row.absent
    ]
    header = ["PSNR, dB", *(f"{site} ({count})" for site, count in zip(sites, counts, strict=True))]
    return markdown(header, body)


def _by_scale(rows: Sequence[Row], measured: Measured, site: str) -> str:
    if not rows:
        return ""
    scales = max((row.scales for row in rows), key=len)
    leader = next((row for row in rows if row.system == LEADER), None)
    body = []
    for row in rows:
        body.append([row.title, *(spread(measured.mean(row, scale, site=site), 2) for scale in scales)])
        if leader is not None and row is not leader and measured.fate(row).status == "done":
            gains = (interval(measured.difference(leader, row, scale, site=site)) for scale in scales)
            body.append(["   MESR (L1) minus it", *gains])
    return markdown([f"PSNR, dB, {site or 'all sites'}", *(f"×{scale}" for scale in scales)], body)


def table3(rows: Sequence[Row], measured: Measured) -> str:
    """Methods down; for each site the three measures, the paper's beside ours."""
    printed = paper()["table3"]
    parts = [f"Trained on {rows[0].group} only; ×2."] if rows else []
    for site in dict.fromkeys(site for row in rows for site in row.sites):
        body = []
        for row in rows:
            known = printed.get(row.column, {}).get(site, {})
            body.append(
                [
                    row.title,
                    *(spread(measured.mean(row, "2", name, site), digits) for name, _, digits in MEASURES),
                    *(f"{known[name]:.{digits}f}" if known else NONE for name, _, digits in MEASURES),
                ]
            )
        found = [one for row in rows for one in measured.of(row, "2", site)]
        titles = [title for _, title, _ in MEASURES]
        parts.append(f"**{site}**" + (f" – {population(found)}" if found else ""))
        parts.append(markdown(["system", *titles, *(f"paper: {title}" for title in titles)], body))
    return "\n\n".join(parts)


def ablations(rows: Sequence[Row], measured: Measured, headline: str) -> str:
    """For each group the base's PSNR and what every other row gains over it, at every scale."""
    parts = []
    for group in dict.fromkeys(row.group for row in rows):
        base, *others = (row for row in rows if row.group == group)
        if not measured.of(base):
            continue
        body = [[base.title, *(spread(measured.mean(base, s, site=headline), 2) for s in base.scales)]]
        for row in others:
            gains = (interval(measured.difference(row, base, s, site=headline)) for s in base.scales)
            body.append([row.title, *gains])
        header = [
            f"PSNR, dB, {headline or 'all sites'}; below the first row, gain over it",
            *(f"×{s}" for s in base.scales),
        ]
        parts += [f"**{group}**", markdown(header, body)]
    return "\n\n".join(parts)


def robustness(rows: Sequence[Row], measured: Measured) -> str:
    """Degradations down; PSNR of each method and the gain over the windowed sinc, over all sites."""
    body = []
    titles = list(dict.fromkeys(row.title for row in rows))
    for group in dict.fromkeys(row.group for row in rows):
        own = {row.title: row for row in rows if row.group == group}
        network = next((row for row in own.values() if row.trainings), None)
        base = own.get("sinc")
        gain = interval(measured.difference(network, base, "2")) if network and base else NONE
        body.append(
            [group, *(spread(measured.mean(own[t], "2"), 2) if t in own else NONE for t in titles), gain]
        )
    return markdown(["degradation", *titles, "network minus sinc, dB [95 %]"], body)


def as_is(found: Sequence[Finding]) -> str:
    """For each scan methods across, figures down."""
    parts = []
    for scan in dict.fromkeys(one.scan for one in found):
        own = [one for one in found if one.scan == scan]
        methods = list(dict.fromkeys(one.method for one in own))
        body = []
        for measure in dict.fromkeys(one.measure for one in own):
            values = {one.method: one.value for one in own if one.measure == measure}
            unit, digits = ("lp/mm", 3) if measure.startswith("MTF50") else ("HU", 1)
            body.append(
                [f"{measure}, {unit}", *(f"{values[m]:.{digits}f}" if m in values else NONE for m in methods)]
            )
        parts += [f"**{scan}**", markdown(["", *methods], body)]
    return "\n\n".join(parts)


def perception(found: Sequence[Finding]) -> str:
    """Methods down; for each site PSNR, and how much finer detail than the input's is shown, against the truth."""
    sites = list(dict.fromkeys(one.scan for one in found))
    measures = list(dict.fromkeys(one.measure for one in found))
    values = {(one.method, one.scan, one.measure): one.value for one in found}
    body = [
        [
            method,
            *(
                f"{values[key]:.2f}" if (key := (method, site, measure)) in values else NONE
                for site in sites
                for measure in measures
            ),
        ]
        for method in dict.fromkeys(one.method for one in found)
    ]
    explained = (
        "Fine detail is the power beyond the input's Nyquist limit against the reference's: 0 dB is as much as there is,"
        " less is smoother. It does not ask whether the detail is true; PSNR does. Middle slices of every site."
    )
    return f"{explained}\n\n{markdown(['', *(f'{site}: {measure}' for site in sites for measure in measures)], body)}"


def budgets(rows: Sequence[Row], measured: Measured) -> str:
    """Every training that ended: what it cost and how it went."""
    body = []
    steps = (step for row in rows for training in row.trainings for step in training.chain())
    for name, step in {step.name: step for step in steps}.items():
        one = measured.state.trained(step)
        if one is not None:
            losses = ", ".join(f"{key} {value:g}" for key, value in one.losses.items())
            body.append(
                [
                    name, millions(one.parameters), millions(one.multiply_adds), f"{one.steps:,}", f"{one.samples:,}",
                    f"{one.samples_at:,}", f"{one.minutes:.1f}", f"{one.first:.2f} → {one.last:.2f}", losses,
                    one.weights_id[:12],
                ]
            )  # fmt: skip
    header = [
        "training", "parameters", "multiply-adds a pixel", "steps", "samples", "samples at ×2 or its own scale",
        "minutes", "validation PSNR, first → last, dB", "losses", "weights id",
    ]  # fmt: skip
    return markdown(header, body) if body else "None ended yet."


def unfinished(rows: Sequence[Row], measured: Measured) -> str:
    """Rows that failed or were not reached."""
    body = []
    for row in rows:
        fate = measured.fate(row)
        if fate.status in ("failed", "planned"):
            reason = f"{fate.sentence} ({fate.code})" if fate.code else "not run yet"
            body.append([f"`{row.id}`", reason])
    return markdown(["row", "why it is missing"], body) if body else ""


def where(rows: Sequence[Row], measured: Measured) -> str:
    """The sites of rows, in words."""
    return ", ".join(rows[0].sites or measured.sites(rows)) or "all sites"
