"""The document: every measured figure in it is read from the disk or from the paper's transcription; none is typed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from .. import __version__
from ..degrade import recipe
from ..files import atomic_path, counted
from ..optimiser import OptimiserConfig
from ..results import code_identity
from ..tables import markdown
from . import comparison
from .differences import caveats
from .findings import Findings
from .in_short import in_short
from .ladder import ladder
from .measured import NONE, Measured, population
from .paper import paper
from .plan import EXPERIMENTS, SCANNED, ct_sites, headline_sites, missing_of, plan, simulation
from .rows import Experiment, Row
from .sources import files_of
from .systems import SYSTEMS
from .table2 import table2
from .trainings import Setting, compound, equal_optimiser, published_optimiser

OURS = """\
**MESR (L1) and MESR (compound) are networks of ours**: {size}, with a bicubic skip and a first convolution of gated differences, chosen on
the validation scans beside MIASSR and MetaRDN. The paper's own network is called "MESR as printed"."""

WHOLE = 9999
"""A site whose last slice is this or beyond covers its whole scan."""

BESIDE = """\
The paper's slices are in-house and others than ours: **no number of its columns measures the same thing as the one beside
it**, and only orders and differences within a column compare. [What differs, and why](#what-differs-and-why) is at the end."""

DIAGRAMS = "The paper's Figures 1 and 2, the network and its meta head, are diagrams of mesr's documentation, “Figures 1 and 2”."


def write(
    page: Path, setting: Setting, rows: Sequence[Row], measured: Measured,
    found: Findings = Findings(), figures: Sequence[tuple[str, Path]] = (),  # noqa: B008
) -> None:  # fmt: skip
    """Write the page, replacing one that is there.

    Args:
        rows: of the plan, done or not.
        found: figures that are no measurements of rows.
        figures: captions and pictures.

    Raises:
        OutputError: it cannot be written there.
    """
    text = document(page, setting, rows, measured, found, figures)
    with atomic_path(page, force=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


BEGINNING = 2
"""Parts before the contents: the title, and how the page was made."""

TIMED = (
    "Of this code: 3×3 convolutions are computed alike in every network, but MESR's take their ReLU and their sum in the same pass where the"
    " processor can ([speed](explanation/speed.md)), as its rivals' could."
)


def document(
    page: Path, setting: Setting, rows: Sequence[Row], measured: Measured,
    found: Findings = Findings(), figures: Sequence[tuple[str, Path]] = (),  # noqa: B008
) -> str:  # fmt: skip
    """The whole text, Markdown. Arguments as `write`."""
    cite = paper()
    headline = next(iter(headline_sites(setting)), "")
    of: dict[Experiment, list[Row]] = {}
    for row in rows:
        if measured.fate(row).status != "planned":  # What was not reached is listed at the end.
            of.setdefault(row.experiment, []).append(row)
    parts = [
        "# Results",
        f"Written by `mesr reproduce --budget {setting.budget.name}`, mesr {__version__}, code {code_identity()}."
        " Do not edit: run it again. Research use only, not for diagnosis.",
        *_warnings(setting),
        f"Beside our figures stand those of {cite['citation']}, doi [{cite['doi']}](https://doi.org/{cite['doi']}),"
        f" {cite['licence']}, transcribed as printed.",
        BESIDE,
        *([] if setting.budget.tiny else [OURS.format(size=SYSTEMS["mesr"].sizes["equal"])]),
        *_short(setting, measured, of, headline),
        "## Protocol", _protocol(setting, measured, rows),
        "## Scans", _scans(setting, measured, rows), *(f"* {one}" for one in missing_of(setting)),
        "Trained and validated on, with the slices that count as each site where they are not all:", _learned(setting),
    ]  # fmt: skip
    if "table1" in of:
        parts += ["## Table 1: six scales", comparison.table1(of["table1"], measured)]
    if "table2" in of:
        parts += [
            "## Table 2: systems at ×2",
            table2(of["table2"], measured, headline, ct_sites(setting)),
        ]
    if "table3" in of:
        parts += ["## Table 3: other sites", comparison.table3(of["table3"], measured)]
    if "ablations" in of:
        parts += [
            "## Ablations",
            comparison.ablations([row for row in rows if row.experiment == "ablations"], measured, headline),
        ]
        if steps := ladder(of.get("table2", []), of["ablations"], measured, headline):
            parts += [
                "**Towards the paper's margin: each network differs from the one above it in one thing**",
                steps,
            ]
    if "robustness" in of:
        parts += ["## Robustness, ×2", comparison.robustness(of["robustness"], measured)]
    if found.native:
        parts += ["## Native resolution, ×2: scans as they are", comparison.as_is(found.native)]
    if found.kernels:
        parts += [
            "## One scan under two kernels, shrunk by 2",
            "It is of the scans to validate on, by which settings were chosen.",
            comparison.perception(found.kernels),
        ]
    if found.perception:
        parts += ["## Distortion and perception, ×2", comparison.perception(found.perception)]
    if found.seconds:
        parts += ["## Time for one slice, ×2", TIMED, comparison.seconds(found.seconds)]
    if figures:
        parts += ["## Figures", DIAGRAMS]
        parts += [f"![{title}]({_beside(page, path)})\n\n{title}" for title, path in figures]
    parts += ["## Budgets", comparison.budgets(rows, measured)]
    parts += ["## What differs, and why", caveats(setting)]
    missing = comparison.unfinished(rows, measured, _absent(setting, rows, found, figures))
    if missing:
        parts += ["## Missing", missing]
    return "\n\n".join([*parts[:BEGINNING], _contents(parts), *parts[BEGINNING:]]) + "\n"


def _contents(parts: Sequence[str]) -> str:
    """Where each part begins, as GitHub and MkDocs name it."""
    titles = [part.removeprefix("## ") for part in parts if part.startswith("## ")]
    return "Parts: " + " · ".join(f"[{title}](#{_anchor(title)})" for title in titles) + "."


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower() if c.isascii() and (c.isalnum() or c in " -")).replace(" ", "-")


def _absent(
    setting: Setting, rows: Sequence[Row], found: Findings, figures: Sequence[tuple[str, Path]]
) -> list[Experiment]:
    """The experiments that these scans could have and of which there is nothing."""
    source, budget = setting.source, setting.budget
    phantom = source.phantom is not None and budget.split == "test"
    able = {row.experiment for row in plan(EXPERIMENTS, setting)} | {"figures"}
    able |= {"native"} if phantom or source.kernels else set()
    there = {row.experiment for row in rows}
    there |= {"native"} if found.native or found.kernels else set()
    there |= {"figures"} if figures else set()
    return [one for one in EXPERIMENTS if one in able - there]


def _short(
    setting: Setting, measured: Measured, of: Mapping[Experiment, Sequence[Row]], headline: str
) -> list[str]:
    """What holds, of everything but smoke runs, which show nothing."""
    if setting.budget.tiny:
        return []
    told = in_short(
        of.get("table2", []),
        of.get("table3", []),
        measured,
        headline,
        ct_sites(setting),
        of.get("table1", []),
    )
    return ["## In short", told] if told else []


def _warnings(setting: Setting) -> list[str]:
    budget, source = setting.budget, setting.source
    found = []
    if budget.tiny:
        found.append(
            f"**Every row here is a smoke run**: {budget.steps} steps of a network of a few thousand parameters,"
            " measured on scans for validation. It shows that everything runs and nothing about any method."
        )
    if source.warning:
        found.append(f"**{source.warning}**")
    return found


def _protocol(setting: Setting, measured: Measured, rows: Sequence[Row]) -> str:
    budget = setting.budget
    commits = Counter(fate.commit for row in rows if (fate := measured.fate(row)).status == "done")
    told = (f"{commit} ({counted(count, 'row', 'rows')})" for commit, count in commits.most_common())
    lines = [
        ["steps of a training; of a fine-tuning", f"{budget.steps:,}; {budget.tuning:,}"],
        ["patch, low-resolution pixels; of a fine-tuning; batch", f"{budget.patch}; {budget.tuning_patch}; {budget.batch}"],
        ["optimiser on equal terms", _optimiser(equal_optimiser(budget.steps))],
        ["optimiser as published", _optimiser(published_optimiser(0.0, budget.steps))],
        ["losses of a fine-tuning on equal terms", ", ".join(f"{name} {weight:g}" for name, weight in compound(budget).items())],
        ["perceptual term", f"{Path(setting.vgg).name}, depths {', '.join(map(str, budget.depths))}"],
        ["low-resolution images", "bicubic, a = −0.5, anti-aliased, pixel centres aligned; unless named otherwise"],
        [SCANNED, f"`{simulation(setting)}`: {_parameters(simulation(setting))} (docs/explanation/degradation.md)"],
        ["`bicubic`, a method", "the same kernel, a = −0.5"],
        ["`sinc`", "windowed by Lanczos' function of radius 5, normalised"],
        ["`backprojection`", "30 corrections of the sinc's image, shrunk by the bicubic above (Irani and Peleg 1991)"],
        ["reference", "cropped, never resampled"],
        ["window", "CT: −1000 to 1000 HU as 0 to 1; MR: its intensity map (docs/reference/geometry.md)"],
        ["PSNR, SSIM, NRMSE", "of images clipped to 0…1, a border as wide as the scale taken off"],
        ["PSNR", "10·log10(1 / MSE), dB"],
        ["SSIM", "Wang et al. 2004: Gaussian of σ 1.5 in 11 × 11 pixels, K = (0.01, 0.03), range 1"],
        ["NRMSE", "RMSE over the result's own range, Eq. (14): less is better; where that range is 1 it says what PSNR says"],
        ["inside the body", "PSNR of clipped values, MAE and RMSE of unclipped ones; above 1000 HU: where the reference is"],
        ["multiply-adds", "of a network's convolutions and head for one low-resolution pixel at ×2 or its own scale"],
        ["measured by code", ", ".join(told) or NONE],
        ["mean ± SD", "over slices"],
        ["intervals", "95 %, paired by slice, bootstrap over patients (or studies) where there are five, else blocks of slices"],
    ]  # fmt: skip
    return markdown(["", "what"], lines)


def _scans(setting: Setting, measured: Measured, rows: Sequence[Row]) -> str:
    """What was measured, and shown in the figures, with its credits."""
    results = [one for row in rows for one in measured.of(row)]
    if not results:
        return "Nothing is measured yet."
    known = {scan.label: scan for scan in (*setting.source.test.scans, *setting.source.val.scans)}
    body = []
    for site in dict.fromkeys(one.site for one in results):
        own = [one for one in results if one.site == site]
        names = sorted({one.scan for one in own})
        credits = {f"{known[name].source}, {known[name].licence}" for name in names if name in known}
        body.append([site, own[0].modality, population(own), ", ".join(names), "; ".join(sorted(credits))])
    return markdown(["site", "modality", "measured on", "scans", "source, licence"], body)


def _learned(setting: Setting) -> str:
    """What networks learned from and were chosen by, with its credits."""
    source = setting.source
    body = []
    for scan in source.training.scans:
        places = ", ".join(_range(site, *ends) for site, ends in scan.sites.items()) or NONE
        alone = scan.split == "train" and scan.label in source.series
        of = f"{scan.label} (the one of “{source.one_site}”)" if alone else scan.label
        of += " (in the ablation with MR alone)" if scan.modality == "MR" else ""
        count = f"{len(files_of(source.root / scan.path)):,}"
        body.append([scan.split, of, scan.modality, count, places, f"{scan.source}, {scan.licence}"])
    return markdown(["split", "scan", "modality", "files", "sites", "source, licence"], body)


def _optimiser(config: OptimiserConfig) -> str:
    """How weights follow the gradient: names and numbers of the setting itself."""
    adam = f"{config.rate:g}" if config.rate else "each system's own rate"
    rule = (
        f"Muon at {config.muon_rate:g} for the body's kernels, Adam at {adam} for all else"
        if config.name == "muon"
        else f"Adam at {adam}"
    )
    schedule = {
        "cosine": "falling to nothing by a cosine",
        "step": f"times {config.decay:g} every {config.every:,} steps",
    }
    parts = [
        rule,
        f"the perceptron of a meta head at {config.head:g} of that" if config.head != 1 else "",
        f"{schedule[config.schedule]} after {counted(config.warmup, 'step', 'steps')} of warm-up",
        f"gradients clipped at norm {config.clip:g}",
        f"an exponential moving average of the weights, decay {config.ema:g}" if config.ema else "weights not averaged",
    ]  # fmt: skip
    return "; ".join(part for part in parts if part)


def _parameters(degradation: str) -> str:
    """Of a recipe, defaults included."""
    return ", ".join(f"{name} {value}" for name, value in asdict(recipe(degradation)).items())  # type: ignore[call-overload]


def _range(site: str, first: int, last: int) -> str:
    return site if last >= WHOLE else f"{site} {first}–{last}"


def _beside(page: Path, path: Path) -> str:
    return Path(os.path.relpath(path.resolve(), page.resolve().parent)).as_posix()
