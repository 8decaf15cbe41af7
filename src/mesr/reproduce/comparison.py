"""The tables of the document, as Markdown: the paper's figures beside ours, never in one cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import native
from ..files import counted
from ..models import weights
from ..tables import Difference, Mean, markdown
from .findings import Finding
from .measured import MEASURES, NONE, Measured, interval, millions, population, spread
from .paper import paper
from .perception import SLICES
from .rows import Experiment, Row
from .state import Trained
from .trainings import Training, network_cost
from .verdicts import IN_BODY, leader_of

FIRST = "MESR (L1)"
"""What the method is called by whose time the others' are told."""

DEGRADED = (
    "The networks know `bicubic` alone; the shipped ones end in [corrections](explanation/network.md#corrections-of-the-whole) that"
    " assume it. `blur-bicubic` blurs before it shrinks, by a Gaussian whose σ counts low-resolution pixels"
    " (0.5 where none is named); `noise` adds white noise after it, whose σ is a share of the window (0.01 where none is named, for CT"
    " 20 HU); `kspace` cuts the spectrum off at what the coarse grid holds, as MR does, and is tried on CT as well."
)


def table1(rows: Sequence[Row], measured: Measured) -> str:
    """Scales across; for each measure the paper's line, then ours."""
    printed = paper()["table1"]
    parts = []
    for group in dict.fromkeys(row.group for row in rows):
        own = [row for row in rows if row.group == group]
        scales = own[0].scales
        body = []
        for name, title, digits in (*MEASURES, IN_BODY):
            if name in printed:
                known = dict(zip(printed["scales"], printed[name], strict=True))
                cells = (
                    f"{known[s][0]:.{digits}f} ± {known[s][1]:.{digits}f}" if s in known else NONE
                    for s in scales
                )
                body.append([f"{title}, paper", *cells])
            body += [
                [f"{title}, {row.title}", *(spread(measured.mean(row, s, name), digits) for s in scales)]
                for row in own
            ]
        found = [one for row in own for one in measured.of(row)]
        heading = f"**{group}** – {where(own, measured)}: {population(found)}" if found else f"**{group}**"
        parts += [heading, markdown(["", *(f"×{scale}" for scale in scales)], body)]
    return "\n\n".join(parts)


def table3(rows: Sequence[Row], measured: Measured) -> str:
    """Methods down; for each site the three measures, the paper's beside ours, and what MESR gains."""
    printed = paper()["table3"]
    leader = leader_of(rows, "mesr")
    parts = [f"Trained on {rows[0].group} only; ×2."] if rows else []
    for site in dict.fromkeys(site for row in rows for site in row.sites):
        body = []
        for row in rows:
            known = printed.get(row.column, {}).get(site, {})
            behind = (measured.lead(leader, row, "2", name, site) for name in ("psnr", IN_BODY[0]))
            body.append(
                [
                    row.title,
                    *(spread(measured.mean(row, "2", name, site), digits) for name, _, digits in MEASURES),
                    *map(interval, behind),
                    *(f"{known[name]:.{digits}f}" if known else NONE for name, _, digits in MEASURES),
                ]
            )
        titles = [title for _, title, _ in MEASURES]
        parts.append(f"**{measured.place(site, rows)}**")
        header = [
            "system",
            *titles,
            "MESR (L1) minus it, dB [95 %]",
            "inside the body",
            *(f"paper: {title}" for title in titles),
        ]
        parts.append(markdown(header, body))
    return "\n\n".join(parts)


def ablations(rows: Sequence[Row], measured: Measured, headline: str) -> str:
    """For each group the base's PSNR and what every other row gains over it, at every scale and at every site.

    Args:
        rows: all of them, also those that were not reached: a group is nothing without its first.
    """
    parts = []
    for group in dict.fromkeys(row.group for row in rows):
        base, *others = (row for row in rows if row.group == group)
        if not measured.of(base):
            continue
        others = [row for row in others if measured.fate(row).status != "planned"]
        parts.append(f"**{group}**")
        for name, title, digits in (MEASURES[0], IN_BODY):
            means = (spread(measured.mean(base, s, name, headline), digits) for s in base.scales)
            body = [[base.title, *means]]
            for row in others:
                gains = (interval(measured.difference(row, base, s, name, headline)) for s in base.scales)
                body.append([row.title, *gains])
            header = [
                f"{title}, {measured.place(headline, [base])}; below the first row, gain over it",
                *(f"×{s}" for s in base.scales),
            ]
            parts.append(markdown(header, body))
        sites = measured.sites([base])
        body = [[base.title, *(spread(measured.mean(base, "2", site=site), 2) for site in sites)]]
        for row in others:
            gains = (interval(measured.difference(row, base, "2", site=site)) for site in sites)
            body.append([row.title, *gains])
        places = (measured.place(site, [base]) for site in sites)
        parts.append(markdown(["PSNR, dB, at ×2, by site", *places], body))
    return "\n\n".join(parts)


def robustness(rows: Sequence[Row], measured: Measured) -> str:
    """Degradations down, for CT and for MR; PSNR of each method, whole and inside the body, and networks' gains over the windowed sinc."""
    parts = []
    for sites in dict.fromkeys(row.sites for row in rows):
        own = [row for row in rows if row.sites == sites]
        found = next((found for row in own if (found := measured.of(row))), [])
        if found:
            what = "MR" if found[0].modality == "MR" else "Patients' CT"
            parts.append(f"{what}, {', '.join(measured.sites(own))}: {population(found)}.")
            several = len(measured.sites(own)) > 1
            parts += [
                _robust(own, measured, *measure, gain=not several) for measure in (MEASURES[0], IN_BODY)
            ]
            parts += _robust_by_site(own, measured) if several else []
    return "\n\n".join([DEGRADED, *parts]) if parts else ""


def _robust(
    rows: Sequence[Row], measured: Measured, measure: str, title: str, digits: int, *, gain: bool
) -> str:
    """A measure over all the rows' slices; networks' gains too, where they are not told site by site."""
    body = []
    titles = list(dict.fromkeys(row.title for row in rows))
    networks = list(dict.fromkeys(row.title for row in rows if gain and row.cost))
    for group in dict.fromkeys(row.group for row in rows):
        own = {row.title: row for row in rows if row.group == group}
        cells = [spread(measured.mean(own[t], "2", measure), digits) if t in own else NONE for t in titles]
        base = next(filter(_sinc, own.values()), None)
        for network in networks:
            known = measured.difference(own[network], base, "2", measure) if base and network in own else None
            cells.append(interval(known, digits))
        body.append([group, *cells])
    return markdown([title, *titles, *(f"{one} minus sinc [95 %]" for one in networks)], body)


def _sinc(row: Row) -> bool:
    return row.system == "sinc"


def _robust_by_site(rows: Sequence[Row], measured: Measured) -> list[str]:
    """Each network's gain at each site, whole and inside the body; the lung's are of a soft and of a sharp kernel."""
    sites = measured.sites(rows)
    places = [measured.place(site, rows) for site in sites]
    parts = []
    for name, title, digits in (MEASURES[0], IN_BODY):
        body = []
        for group in dict.fromkeys(row.group for row in rows):
            own = [row for row in rows if row.group == group and measured.of(row)]
            for network in (row for row in own if row.cost):
                for base in filter(_sinc, own):
                    gains = (measured.difference(network, base, "2", name, site) for site in sites)
                    body.append([group, network.title, *(interval(one, digits) for one in gains)])
        parts += [markdown(["", f"minus sinc, {title} [95 %]", *places], body)] if body else []
    return parts


def as_is(found: Sequence[Finding]) -> str:
    """For each scan methods across, figures down; behind a network's, how it differs from the windowed sinc's.

    What is spread is that over slices, which every method shares.
    """
    parts = []
    for scan in dict.fromkeys(one.scan for one in found):
        own = {(one.measure, one.method): one for one in found if one.scan == scan}
        measures, methods = (list(dict.fromkeys(names)) for names in zip(*own, strict=True))
        body = []
        for measure in measures:
            unit, digits = ("lp/mm", 3) if measure.startswith("MTF50") else ("HU", 1)
            cells = [
                _figure(own[measure, method], digits) if (measure, method) in own else NONE
                for method in methods
            ]
            count = next(one.count for (name, _), one in own.items() if name == measure)
            body.append([f"{measure}, {unit} ({counted(count, 'slice', 'slices')})", *cells])
        parts += [f"**{scan}**", markdown(["", *methods], body)]
    told = (
        f"Noise is {native.NORMAL:.2f} times the median deviation from the mean under a Gaussian of σ {native.NOISE_MM:g} mm (`native.noise`), not the"
        " standard deviation of a region. Mean ± SD over the slices where every method has the figure; in brackets what it is more than the windowed"
        " sinc's, with the 95 % interval over blocks of slices of this one scan. MTF50 says too much of an"
        " edge that is softer than 0.85 mm (σ) (`native.skin_edge`). No truth is known here: more noise and a higher MTF50 together are"
        " what mere sharpening gives as well. A patient's scans are of those to validate on."
    )
    return "\n\n".join([told, *parts])


def _figure(one: Finding, digits: int) -> str:
    """`12.3 ± 0.4 (+1.2 [+1.0, +1.4])`."""
    text = spread(Mean(one.value, one.sd, one.count, 1), digits)
    if not math.isfinite(one.gain):
        return text
    return f"{text} ({interval(Difference(one.gain, one.low, one.high, one.count, 1, ''), digits)})"


def seconds(found: Sequence[Finding]) -> str:
    """Methods down: what one slice takes, and how many times the first network's that is."""
    parts = []
    for machine in dict.fromkeys(one.scan for one in found):
        own = sorted((one for one in found if one.scan == machine), key=lambda one: one.value)
        base = next((one.value for one in own if one.method.startswith(FIRST)), math.nan)
        body = [
            [one.method, f"{one.value:.2g}", NONE if math.isnan(base) else f"{one.value / base:.2g}"]
            for one in own
        ]
        parts.append(markdown([machine, own[0].measure, f"times {FIRST}"], body))
    return "\n\n".join(parts)


def perception(found: Sequence[Finding]) -> str:
    """Methods down; for each site PSNR, and how much finer detail than the input's is shown, against the truth."""
    counts = {one.scan: one.count for one in found}
    measures = list(dict.fromkeys(one.measure for one in found))
    values = {(one.method, one.scan, one.measure): Mean(one.value, one.sd, one.count, 1) for one in found}
    body = [
        [method, *(spread(values.get((method, site, measure)), 2) for site in counts for measure in measures)]
        for method in dict.fromkeys(one.method for one in found)
    ]
    heads = [
        f"{site} ({counted(count, 'slice', 'slices')}): {measure}"
        for site, count in counts.items()
        for measure in measures
    ]
    explained = (
        "Fine detail is the power beyond the input's Nyquist limit against the reference's: 0 dB is as much as there is,"
        " less is smoother, and more has detail that the truth has not. It does not ask whether the detail is true; PSNR"
        " does. Images are clipped to the window first: bone beyond it ends in the same sharp steps in both, so where there is much of it, as in"
        f" a head, the figure says little. Patients' CT, the {SLICES} middle slices of each site, whosever they are; mean ± SD over them."
    )
    return f"{explained}\n\n{markdown(['', *heads], body)}"


def budgets(rows: Sequence[Row], measured: Measured) -> str:
    """Every training that ended, and the last of each shipped network: what it cost and how it went."""
    body = []
    steps = (step for row in rows for training in row.trainings for step in training.chain())
    for name, step in {step.name: step for step in steps}.items():
        one = measured.state.trained(step)
        if one is not None:
            cost = network_cost(step)
            losses = ", ".join(f"{key} {value:g}" for key, value in one.losses.items())
            body.append(
                [
                    name, millions(cost.parameters), millions(cost.pixel), f"{one.steps:,}", f"{one.samples:,}",
                    f"{one.samples_at:,}" if one.samples_at else NONE, f"{one.minutes:.1f}", _course(one, widened=_widened(step)), losses,
                    f"{one.slope:.2f}" if one.slope else NONE, one.computed or NONE, one.weights_id[:12],
                ]
            )  # fmt: skip
    shipped = [row for row in rows if not row.trainings and row.system in weights.shipped()]
    for row in {row.system: row for row in shipped}.values():
        card, own = weights.load(row.system)[1], row.cost
        told = card.about["training"]
        on_from = f", on from {told['start']['name']}" if told.get("start") else ""
        assert own is not None
        body.append(
            [
                f"{row.system} (shipped{on_from}; its card has more)", millions(own.parameters), millions(own.pixel), f"{told['steps']:,}",
                f"{told['steps'] * told['batch']:,}", NONE, f"{told['minutes']:.1f}", NONE,
                ", ".join(f"{key} {value:g}" for key, value in told["losses"].items()), NONE, NONE, card.weights_id[:12],
            ]
        )  # fmt: skip
    header = [
        "training", "parameters", "multiply-adds a low-resolution pixel", "steps", "samples", "samples at ×2 or its own scale",
        "minutes", "validation PSNR, first → last, dB", "losses", "critic's gradient norm, wanted: 1", "computed in", "weights id",
    ]  # fmt: skip
    return markdown(header, body) if body else "None ended yet."


def _widened(step: Training) -> bool:
    """Whether it goes on from a network of fewer scales, by which it was judged first."""
    return step.after is not None and len(step.config.sampling.scales) > len(
        step.after.config.sampling.scales
    )


def _course(one: Trained, *, widened: bool = False) -> str:
    """A training's validations; what got worse than it began, or than it had been, is marked."""
    text = f"{one.course[0][1]:.2f} → {one.course[-1][1]:.2f}"
    if one.worse:
        return f"{text} (learns other scales)" if widened else f"{text} **(worse)**"
    if one.given_up > 0:
        return f"{text} ({one.given_up:.2f} given up)"
    return f"{text} (best {one.past[1]:.2f} at step {one.past[0]:,})" if one.past else text


def unfinished(rows: Sequence[Row], measured: Measured, absent: Sequence[Experiment] = ()) -> str:
    """Experiments of which there is nothing, and rows that failed or were not reached."""
    body = [[f"`{one}`", "not run yet"] for one in absent]
    for row in rows:
        fate = measured.fate(row)
        if fate.status in ("failed", "planned"):
            reason = f"{fate.sentence} ({fate.code})" if fate.code else "not run yet"
            body.append([f"`{row.id}`", reason])
    return markdown(["row", "why it is missing"], body) if body else ""


def where(rows: Sequence[Row], measured: Measured) -> str:
    """The sites of rows, in words."""
    return ", ".join(rows[0].sites or measured.sites(rows)) or "all sites"
