"""`mesr upscale`: studies in, super-resolved studies out."""

from __future__ import annotations

from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..kernels import library
from .console import door, duration, err, exit_status, numbers, out, show, shown, tell

if TYPE_CHECKING:
    from ..io import Item
    from ..job import Outcome

Modalities = Literal["ct", "mr"]
Precisions = Literal["auto", "float32", "bf16"]


@door
def upscale(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The file of a single result where the name ends in .nii, .nii.gz, .nrrd, .mha, .npy, .png or "
            ".dcm; else a folder, in which each result has a file or folder of its own.",
        ),
    ],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="INPUT…", help="Files, folders or zips; every study in them is done."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="Magnification: 2.5, 5/2, or 1.3x2.2 for rows x columns.")
    ] = None,
    spacing: Annotated[str | None, typer.Option(help="Pixel spacing wanted, mm; the nearest size.")] = None,
    size: Annotated[str | None, typer.Option(help="Pixels wanted: 1024, or 1024x768 rows x columns.")] = None,
    exact_spacing: Annotated[
        bool, typer.Option("--exact-spacing", help="Keep the spacing exactly, rather than the field of view.")
    ] = False,
    downsample: Annotated[
        bool, typer.Option("--downsample", help="Allow a result coarser than the input.")
    ] = False,
    model: Annotated[
        str,
        typer.Option(
            help="auto chooses by modality; else a name from `mesr models` or a .safetensors file; with a + behind it in eight orientations."
        ),
    ] = "auto",
    modality: Annotated[
        Modalities | None,
        typer.Option(case_sensitive=False, help="For files that do not say it (NIfTI, NRRD, npy, PNG)."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[Precisions, typer.Option(help="Of the convolutions.")] = "auto",
    format: Annotated[
        str | None,
        typer.Option(
            help="dicom, dicom-classic (single-frame images of an Enhanced source), nifti, nrrd, mha, npy or png; without it the input's, or the name's."
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Draw before and after beside each result (.preview.png).")
    ] = False,
    difference: Annotated[
        bool,
        typer.Option(
            "--difference",
            help="Write what a DICOM result adds to plain interpolation as a parametric map beside it (.difference.dcm).",
        ),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write what was done as JSON, without patient data.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace results and a report that are there; never an input.")
    ] = False,
    keep_private: Annotated[
        bool,
        typer.Option("--keep-private", help="Keep private DICOM attributes, which may hold patient data."),
    ] = False,
    list_file: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="More inputs, one a line of this file.")
    ] = None,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster",
            help="Spread the studies over a Ray cluster: the one RAY_ADDRESS names, else this machine's "
            "processors. The same command goes on where a stopped one was.",
        ),
    ] = False,
    dicomweb: Annotated[
        str | None,
        typer.Option(
            metavar="QUERY",
            help="With --cluster: more inputs, the series that match a DICOMweb query, "
            "https://…/studies?ModalitiesInStudy=CT.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="With --cluster: workers at most; else as many as there is room for.")
    ] = None,
    worker_cpus: Annotated[
        int, typer.Option(help="With --cluster: processors, and threads, of each worker.")
    ] = 1,
    worker_gpus: Annotated[
        float | None,
        typer.Option(
            help="With --cluster: GPUs of each worker, 0.5 for two that share one; else one if any."
        ),
    ] = None,
) -> None:
    """Super-resolve studies at any magnification. Research use only, not for diagnosis."""
    from ..errors import UsageError
    from ..grid import Target

    target = Target.of(
        scale=scale, spacing=spacing, size=size, exact_spacing=exact_spacing, downsample=downsample
    )
    if not cluster and (dicomweb, workers, worker_cpus, worker_gpus) != (None, None, 1, None):
        raise UsageError("needs-cluster", "--dicomweb and the options of workers need --cluster.")
    if not inputs and list_file is None and dicomweb is None:
        raise UsageError(
            "no-input", "No input was given.", "Name files, folders or zips, or a --list of them."
        )
    library.build_ahead()
    # Only now what takes a second to import.
    from .. import job
    from .. import report as reports
    from ..inference import Options
    from ..io.listing import listed
    from ..models import weights

    load = weights.load if cluster else cache(weights.load)
    if model != "auto":
        load(model)  # A name that nothing has is told once, not for every study.
    sources = [*(inputs or ()), *(listed(list_file) if list_file is not None else ())]
    compute = Options(device=device, precision=precision)
    settings = job.Settings(model, modality, format, force, keep_private, preview, compute, load, difference)
    if report is not None:
        reports.check(report, [*sources, *([list_file] if list_file is not None else ())], force=force)
    if cluster:
        from .spread import spread

        share = (workers, worker_cpus, worker_gpus)
        spread(sources, dicomweb, target, output, settings, report, share)
    found = job.discover(sources, output)
    bar = Bar()
    fates = job.run_all(
        found, target, output, settings, on_start=bar.start, on_plan=announce, on_slice=bar.slice
    )
    if report is not None:
        reports.check_apart(report, chain.from_iterable(job.planned(found, output, settings)))
    tell(found.notes, indent="")
    outcomes: list[Outcome] = []
    try:
        with bar.progress:
            for outcome in fates:
                outcomes.append(outcome)
                bar.clear()
                describe(outcome)
        if len(outcomes) > 1:
            done = sum(outcome.status == "done" for outcome in outcomes)
            out.print(f"{done} of {len(outcomes)} done.")
        raise typer.Exit(job.exit_code(outcomes))
    except BaseException as end:
        # However the run ends, also where it was interrupted: what is in the report was done. A call refused as
        # a whole does not come so far, and leaves no report that would be in the way of the corrected one.
        if report is not None:
            reports.write(report, outcomes, found.notes, status=exit_status(end), force=force)
        raise


def describe(outcome: Outcome) -> None:
    """One study's fate: what came of it, or why nothing did."""
    name = f"{outcome.label} ({outcome.id})"
    if outcome.error is not None:
        show(outcome.error, name)
        return
    made, after = outcome.derivation, outcome.after
    assert made is not None
    assert after is not None
    assert outcome.output is not None
    rows, columns = after.size[1:]
    spacing = f", {numbers(after.spacing[1:])} mm" if after.known else ""
    out.print(f"{name} → {shown(outcome.output)}")
    out.print(
        f"  {made.model}, {made.requested}: effective scale {numbers(dict.fromkeys(made.grid.scale[1:]))},"
        f" {rows} × {columns} pixels (rows × columns){spacing}, {outcome.seconds['total']:.1f} s"
    )
    if outcome.residual is not None:
        unit = f" {outcome.unit}" if outcome.unit else ""
        out.print(f"  shrunk again it differs from the input by at most {outcome.residual:.3g}{unit}")
    if outcome.preview is not None:
        out.print(f"  before and after: {shown(outcome.preview)}")
    if outcome.difference is not None:
        out.print(f"  difference from interpolation: {shown(outcome.difference)}")
    tell(outcome.notes)


def announce(seconds: float) -> None:
    """How long the study at hand will take, where that is worth saying."""
    from ..job import WORTH_SAYING

    if seconds >= WORTH_SAYING:
        err.print(f"This will take about {duration(seconds)}.")


class Bar:
    """Progress over slices on a terminal; silent elsewhere."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._task = self.progress.add_task("", total=None, visible=False)

    def start(self, item: Item) -> None:
        """A study begins."""
        self.progress.reset(self._task, total=item.size[0], description=item.label, visible=True)

    def slice(self, done: int, count: int) -> None:
        """So many of its slices are written."""
        self.progress.update(self._task, completed=done, total=count)

    def clear(self) -> None:
        """Nothing is going on."""
        self.progress.update(self._task, visible=False)
