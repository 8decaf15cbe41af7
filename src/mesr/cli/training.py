"""`mesr prepare`, `mesr train` and `mesr evaluate`: a network on one's own scans, and what it is worth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import UsageError
from ..files import atomic_path
from .console import INTERRUPTED, door, err, out, shown

if TYPE_CHECKING:
    from ..inference import Options
    from ..progress import Progress, Reporter
    from ..results import Row
    from ..testset import EvaluationSpec
    from ..volume import Volume

Modalities = Literal["ct", "mr"]
Precisions = Literal["auto", "float32", "bf16"]
SIX = "1.5,2,2.5,3,3.5,4"
"""The protocol's scales."""


@door
def prepare(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="SCAN…", help="One SPEC.yaml, or scans: one patient each.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the training set.")],
    modality: Annotated[
        Modalities | None, typer.Option(case_sensitive=False, help="Of the scans; a SPEC.yaml says it.")
    ] = None,
    val: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the scans kept to validate on.")
    ] = 0.1,
    force: Annotated[bool, typer.Option("--force", help="Replace a set that is there.")] = False,
) -> None:
    """Make a training set: body-cropped slices and a manifest without patient data."""
    from .. import prepare as preparing
    from ..modality import modality_of

    if len(inputs) == 1 and inputs[0].suffix.lower() in (".yaml", ".yml"):
        spec, root = preparing.specification(inputs[0])
    elif modality is None:
        raise UsageError("modality-needed", "Scans need their modality.", "Add --modality ct or mr.")
    else:
        spec, root = preparing.of_paths(inputs, modality_of(modality), val)
    done = 0

    def on_scan(_: str, count: int) -> None:
        nonlocal done
        done += 1
        out.print(f"scan {done} of {len(spec.scans)}: {count} slices")

    preparing.prepare(spec, root, output, force=force, on_scan=on_scan)
    held = sum(scan.split == "val" for scan in spec.scans)
    out.print(f"{shown(output)}: {len(spec.scans) - held} scans to train on, {held} to validate on.")
    if not held:
        out.print(
            "note: nothing is kept to validate on, which training needs; name another scan, or train with"
            " validation.scales=[]."
        )


@door
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Of the training run.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="key=value…", help="Such as steps=5000 out=runs/mine.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="WEIGHTS", help="Fine-tune these weights.")
    ] = None,
) -> None:
    """Train a network; the same command goes on where a stopped run was."""
    from .. import config as configuration
    from ..recipe import TrainConfig

    given = list(overrides or ())
    if start is not None:
        given.append(f"start={json.dumps(start)}")
    settings = configuration.load(TrainConfig, config, given)
    from .. import train as training
    from ..losses import looking
    from ..losses.vgg import to_fetch

    if looking(settings.losses) and (sentence := to_fetch(settings.perceptual.vgg)):
        err.print(sentence)
    try:
        with reporter() as report:
            path = training.train(settings, report)
    except KeyboardInterrupt:
        out.print("Stopped; the checkpoint is saved. The same command goes on from it.")
        raise typer.Exit(INTERRUPTED) from None
    out.print(f"weights: {shown(path)}")


@contextmanager
def reporter() -> Iterator[Reporter]:
    """A progress bar with the time left on a terminal, plain lines elsewhere."""
    from ..progress import plain_lines

    if not err.is_terminal:
        yield plain_lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.5f}, {task.fields[left]} left"),
    )
    with Bar(*columns, console=err) as bar:
        task = bar.add_task("", total=None, loss=float("nan"), left="?")

        def report(progress: Progress) -> None:
            minutes = f"{progress.seconds_left / 60:.0f} min"
            bar.update(task, completed=progress.step, total=progress.steps, loss=progress.loss, left=minutes)
            if progress.scores is not None:
                scores = ", ".join(f"{key} {value:.2f}" for key, value in progress.scores.items())
                err.print(f"step {progress.step}: PSNR {scores}")

        yield report


@door
def evaluate(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of results.csv, which is added to, and tables.md.")
    ],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SCAN…", help="One SPEC.yaml, or scans to shrink and restore: one patient each."
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(help="Comma list; without it the shipped weights, bicubic, bspline3 and sinc."),
    ] = None,
    scales: Annotated[str, typer.Option(help="Comma list.")] = SIX,
    pairs: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="LR HR", help="A coarse and a fine scan of one thing, rather than shrinking."),
    ] = None,
    modality: Annotated[
        Modalities | None,
        typer.Option(case_sensitive=False, help="Of scans; as their files say where left out."),
    ] = None,
    degradation: Annotated[str, typer.Option(help="How references are shrunk.")] = "bicubic",
    pictures: Annotated[
        str | None, typer.Option(metavar="SCALE", help="Also draw a picture of every site at this scale.")
    ] = None,
    floor: Annotated[
        Path | None, typer.Option(help="CSV of the least PSNR per site and scale; tells what is below it.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[Precisions, typer.Option(help="Of the convolutions.")] = "auto",
) -> None:
    """Measure models against the truth: results.csv and a table for each site and scale."""
    if (pairs is None) == (not inputs):
        raise UsageError("nothing-to-measure", "Either scans or --pairs LR HR are needed.")
    if pairs is not None and (scales != SIX or degradation != "bicubic"):
        raise UsageError(
            "pair-options",
            "Nothing is shrunk with --pairs, so --scales and --degradation mean nothing there.",
        )
    from .. import tables
    from ..evaluate import parse_scale
    from ..inference import Options
    from ..models import weights

    if pictures is not None:
        parse_scale(pictures)
    wanted = tables.read_floor(floor) if floor is not None else None
    names = _listed(models) if models else [*weights.shipped(), "bicubic", "bspline3", "sinc"]
    options = Options(device=device, precision=precision)
    if pairs is not None:
        pair = _pair(pairs, modality, pictures)
    else:
        spec = _specification(inputs or [], modality)
    with bar("slices") as tell:
        if pairs is not None:
            from ..pairs import draw_pair, evaluate_pairs

            rows = evaluate_pairs(*pair, names, out=output, options=options, on_slice=tell)
        else:
            rows = _scans(spec, names, _listed(scales), output, degradation, options, tell)
    text = tables.report(rows)
    if wanted is not None:
        text += _against_floor(rows, wanted)
    with atomic_path(output / "tables.md", force=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    out.print(text.rstrip())
    out.print(
        f"{shown(output / 'results.csv')} has the {len(rows)} rows of this run, tables.md this run alone."
    )
    if pictures is None:
        return
    if pairs is not None:
        out.print(shown(draw_pair(*pair, names, output / "pair.png", options)))
    else:
        from ..gallery import illustrate

        for path in illustrate(names, spec, output, scale=pictures, degradation=degradation, options=options):
            out.print(shown(path))


def _specification(inputs: list[Path], modality: str | None) -> EvaluationSpec:
    """What is measured: a specification's scans, or the scans named, one patient each."""
    from .. import testset
    from ..modality import modality_of

    if len(inputs) == 1 and inputs[0].suffix.lower() in (".yaml", ".yml"):
        return testset.specification(inputs[0])
    return testset.of_paths(inputs, modality_of(modality) if modality else None)


def _scans(
    spec: EvaluationSpec,
    models: list[str],
    scales: list[str],
    output: Path,
    degradation: str,
    options: Options,
    tell: Callable[[int, int], None],
) -> list[Row]:
    from .. import evaluate as evaluation

    asked = (
        f"mesr evaluate --models {','.join(models)} --scales {','.join(scales)} --degradation {degradation}"
    )
    return evaluation.run(
        models, spec, output, scales=scales, degradation=degradation, options=options,
        command=asked, on_slice=lambda done, count, _: tell(done, count),
    )  # fmt: skip


def _against_floor(rows: list[Row], wanted: dict[tuple[str, str], tuple[float, float]]) -> str:
    """What each network reached of a floor, as Markdown."""
    from .. import tables

    names = dict.fromkeys(row.model for row in rows)
    parts = [
        f"\n## {name} against the floor\n\n{tables.floor_table(tables.compare_floor(rows, wanted, name))}\n"
        for name in names
    ]
    return "".join(parts)


def _pair(pairs: tuple[Path, Path], modality: str | None, pictures: str | None) -> tuple[Volume, Volume]:
    """The two volumes of a pair.

    Raises:
        UsageError: code `pair-options`, a picture is asked for at another scale than theirs.
    """
    from ..evaluate import parse_scale
    from ..io import read
    from ..modality import identified
    from ..pairs import pair_grid, scale_label

    lr, hr = (identified(read(path), modality) for path in pairs)
    if pictures is not None:
        grid = pair_grid(lr.geometry, hr.geometry)
        apart = [abs(float(a) / b - 1) for a, b in zip(parse_scale(pictures), grid.scale[1:], strict=True)]
        if max(apart) > 0.01:
            raise UsageError(
                "pair-options",
                f"A pair is shown at its own scale, {scale_label(grid)}, found {pictures[:20]!r}.",
                f"Ask for --pictures {scale_label(grid)}.",
            )
    return lr, hr


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere; give it what is done and how much there is."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(unit), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, count: progress.update(task, completed=done, total=count)
