"""The document: every figure in it is read from the disk or from the paper's transcription; none is typed here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from .. import __version__
from ..degrade import recipe
from ..files import atomic_path, counted
from ..models import weights
from ..models.registry import blueprint
from ..optimiser import OptimiserConfig
from ..results import code_identity
from ..tables import markdown
from . import comparison
from .budgets import Budget
from .findings import Findings
from .in_short import in_short
from .ladder import ladder
from .measured import NONE, Measured, millions, population
from .paper import paper
from .plan import EXPERIMENTS, SCANNED, ct_sites, headline_sites, missing_of, plan, simulation
from .rows import Experiment, Row
from .sources import files_of
from .systems import SYSTEMS, System
from .table2 import table2
from .trainings import Setting, compound, equal_optimiser, published_optimiser

CAVEATS = """\
* The paper's test slices are in-house and others than ours.
* The paper prints RMSE under the logarithm of PSNR, Eq. (15); its values show that MSE is meant, and MSE is used here.
* The paper's own NRMSE and PSNR agree with each other in Table 1 and in the row "Ours" of Table 2. In the other rows of
  Table 2 and everywhere in Table 3 they do not.
* Its parameter cells mix units: {cells}. Ours are counted in code, at the size that was trained.
* Its §3.1, §4.1 and §4.4 disagree about the low-resolution images, shrunk CT or CBCT: Table 1 has a part for each. Table 2 does not
  say either, and its bicubic interpolation is so far below any of shrunk CT that its 0.75 dB may well be of another task.
* It trained on patches of 96 pixels at a rate of 4e-4, and tested on slices of three patients; it tells no weights of its three losses. Ours
  learned from other patients, other patches and far fewer steps ([protocol](#protocol), [scans](#scans)), with weights chosen here.
* No patient's CBCT with the planning CT is at hand here; the CBCT is simulated in its projections.
* "Equal terms" are ours: same scans, patches, steps, optimiser, averaging, centred coordinates and bicubic skip for
  every network but SRCNN, which starts from the bicubic image and has none. A network of one scale spends all its samples on it, one for six scales a sixth; the tables
  name both. What the other scales' samples are worth at ×2 the row "MESR (L1) at ×2 alone" says; at ×3 and ×4 the three networks
  of EDSR 16 × 64 and the ablation of pixel shuffles say what a scale of its own is worth.
* On equal terms L1 stands for squared error, and the compound loss of §3.3 for the second stages of SRGAN, ESRGAN and
  MIASSR. As published each has its own losses and weights, but MIASSR's discriminator is SRGAN's; Adam at its own rate (1e-4 for VDSR's SGD at 0.1), halved every fifth of the steps; and this budget's steps, far
  fewer.
* The rates on equal terms were found with `mesr` (docs/explanation/choices.md). Bodies begin as their authors say, or as
  PyTorch makes them where they say nothing (the paper does not), `mesr`'s with each block near identity: the ablation "the body begins as
  PyTorch makes it" says what that is worth. On equal terms a network of one scale begins near the bicubic image, its
  last convolution made small, and every meta head begins as ours does.
* Each network was trained once, and what it was at the last step is measured, for every system alike: validation chose none of
  them, and [budgets](#budgets) names those that had been better before. Intervals are over patients or slices and know nothing of that; the rows "another
  seed" show what it changes.
* Only MESR averages over orientations, a self-ensemble that any network could have, and it is trained through them: a
  step shows it each of its samples four times over. `mesr-lite` is its network in one
  orientation, a quarter of the work, and says what that network is worth beside others of its size; rows "mean of
  eight orientations" are for what averaging gives to it and to its rivals, at eight times their work.
* MESR (compound) is the paper's three losses and nothing else. On even ground it draws a lattice in step with the input's pixels, plain at ×4,
  and raises values by some HU (docs/explanation/losses.md): it is for looking at the losses, not at patients.
* "lung-sharp" is a scan of the lung by its archive; its 15 slices lie at the shoulders and above, and hold little lung.
* The networks learned from CT alone, but for the ablation with MR beside it, and the gates of MESR's first convolution are made for HU: what the tables say of
  MR is how each fares outside what it was made for.
* The simulated CBCT of Table 1 is made slice by slice from the same slices, pixels and window as all else; pairs made
  by `mesr prepare-pairs` follow the paper's 384² and body mask instead; what registering them costs a network is told in docs/explanation/pairs.md. Its noise is on the fine pixels: the larger the
  scale, the more of it the shrinking averages away, so that ×2 may well be ahead of ×1.5 there.
* Minutes of a training count pauses and whatever else the machine did meanwhile; they are no measure of speed.
* MESR's first convolution and its orientations were chosen on the validation scans, to be ahead of MIASSR and MetaRDN
  there. Nobody searched so for the other systems. Nothing trained here was chosen on the test scans. The shipped networks'
  four corrections were, after two had been seen to lose one figure of 840 there; and errors on test slices were looked
  at to find out where MESR is not first (docs/explanation/choices.md, docs/test-looks.csv)."""

OTHER_VGG = """\
* The perceptual term looks at `{name}`, where §3.3 has VGG19 trained on ImageNet. For the losses that others published,
  whose weights are for VGG19's maps, its maps are brought to their size only roughly (docs/explanation/losses.md)."""

OURS = """\
**MESR (L1) and MESR (compound) are networks of ours**: {size}, with a bicubic skip and a first convolution of gated differences, chosen on
the validation scans beside MIASSR and MetaRDN. The paper's own network is called "MESR as printed"."""

NOT_SHIPPED = """\
* **MESR of these tables is not what mesr ships.** Here 16 blocks whose first convolution is gated by level and contrast
  answer in four orientations, all trained alike for this comparison; what `mesr` and `mesr-lite` are short for
  ({shipped}) goes without gates, which would bind it to calibrated HU, and has corrections of the whole, longer trainings and other losses.
  A part of Table 2, "as shipped", is theirs."""

SHORT = """\
* Trainings are short here: deep networks are furthest from their end, and the order of systems may change with more
  steps. As published, from their own beginnings at their own rates, some may end below bicubic interpolation: that says
  how long such a training takes, and nothing about its end."""

LONGER = """\
* This budget was planned with 3,000 steps, and 5,000 for the ablations; it has {steps:,} of each for want of time, and
  {longer:,} for the systems of the part "for longer"."""

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
        parts += ["## Ablations", comparison.ablations(of["ablations"], measured, headline)]
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
        parts += ["## Time for one slice, ×2", comparison.seconds(found.seconds)]
    if figures:
        parts += ["## Figures", DIAGRAMS]
        parts += [f"![{title}]({_beside(page, path)})\n\n{title}" for title, path in figures]
    parts += ["## Budgets", comparison.budgets(rows, measured)]
    parts += ["## What differs, and why", _caveats(setting)]
    missing = comparison.unfinished(rows, measured, _absent(setting, rows, found, figures))
    if missing:
        parts += ["## Missing", missing]
    return "\n\n".join(parts) + "\n"


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
    told = in_short(of.get("table2", []), of.get("table3", []), measured, headline, ct_sites(setting))
    return ["## In short", told] if told else []


def _caveats(setting: Setting) -> str:
    """With what the paper's parameter cells hold: for most a system's three networks of one scale each, counted."""
    budget, printed, told = setting.budget, paper()["table2"], []
    for name in ("edsr", "rdn", "srgan"):
        counts = _counts(SYSTEMS[name], budget)
        column = SYSTEMS[name].column
        told.append(
            f"{column}'s {printed[column]['parameters']} are its networks of ×2, ×3 and ×4 together"
            f" ({millions(sum(counts))}), of which that of ×2 has {millions(counts[0])}"
        )
    other = SYSTEMS["srdensenet"]
    told.append(
        f"SRDenseNet's {printed[other.column]['parameters']} are no sum of such networks"
        f" ({', '.join(map(millions, _counts(other, budget)))})"
    )
    parts = [CAVEATS.format(cells="; ".join(told))]
    seen = Path(setting.vgg).name
    parts += [OTHER_VGG.format(name=seen)] if "vgg19" not in seen else []
    parts += [] if budget.tiny else [NOT_SHIPPED.format(shipped=_shipped())]
    parts += [] if budget.giants else [SHORT]
    parts += [LONGER.format(steps=budget.steps, longer=budget.longer)] if budget.longer else []
    return "\n".join(parts)


def _shipped() -> str:
    """The networks behind the short names, by their specs: `mesr-3: 16 blocks in 4 orientations`."""
    told = []
    for name in weights.ALIASES.values():
        arguments = weights.load(name)[1].spec["args"]
        turned = arguments.get("orientations", 1)
        told.append(
            f"`{name}`: {arguments['blocks']} blocks in {counted(turned, 'orientation', 'orientations')}"
        )
    return ", ".join(told)


def _counts(system: System, budget: Budget) -> list[int]:
    """Parameters of a system's networks of ×2, ×3 and ×4 as published."""
    whole = replace(budget, tiny=False)
    return [blueprint(system.spec("published", whole, scale)).parameter_count for scale in (2, 3, 4)]


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
        ["losses of a fine-tuning", ", ".join(f"{name} {weight:g}" for name, weight in compound(budget).items())],
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
