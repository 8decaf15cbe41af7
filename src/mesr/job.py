"""The one way from studies on disk to results on disk, for every door: discovery, fate, timing, outcome.

`run` never raises for a study: a bad one becomes an outcome with an error, so that it does not stop the
others. What is written is complete or not there, whatever interrupts it.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from . import beside, io
from .ahead import Ahead, Watched
from .computed import ComputedSlices
from .errors import InternalError, MesrError, OutOfMemory, OutputError, bare
from .files import counted
from .geometry import Geometry
from .grid import Target
from .inference import Options
from .io import Found, Item, Refused
from .models import weights
from .upscaling import Loader, apply
from .volume import Derivation, Note, Unit

Status = Literal["done", "refused", "failed"]
LARGE_SLICE = 64 << 20
"""Bytes of a computed slice (4096 squared) beyond which none is computed ahead of its writing."""
LONG_STUDY = 1 << 20
"""Input pixels, four slices of 512², from which on it is found out beforehand how long a study will take."""
WORTH_SAYING = 20.0
"""Seconds below which nobody needs to be told."""
OnSlice = Callable[[int, int], None]
"""Called with the slices done and their number."""
OnPlan = Callable[[float], None]
"""Called before the first slice of a study that is not small, with about how many seconds it will take."""


@dataclass(frozen=True)
class Settings:
    """How a job is done.

    Attributes:
        model: "auto", weights, an interpolator or a .safetensors file.
        modality: "ct" or "mr" for files that do not say.
        format: of the result; None keeps the input's, or the output name's.
        force: replace results that are there.
        keep_private: keep a DICOM source's private attributes.
        preview: draw a picture of before and after beside each result.
        compute: device, precision, tiles.
        load: gives the weights of a name; a door that does many studies in one process remembers them.
        difference: write a map of what each DICOM result adds to plain interpolation beside it.
    """

    model: str = "auto"
    modality: str | None = None
    format: str | None = None
    force: bool = False
    keep_private: bool = False
    preview: bool = False
    compute: Options = field(default_factory=Options)
    load: Loader = weights.load
    difference: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one study. Nothing here but the paths holds a name from outside.

    Attributes:
        id, label, format: of the input, as `io.discover` gave them.
        status: "done"; "refused", an expected `error`; "failed", a bug of ours, whose cause `error` keeps.
        output: the file, or the folder of files, that was written.
        outputs: the files.
        preview: the picture, where one was asked for and drawn.
        notes: what was noticed, with stable codes.
        seconds: "start" (opening, loading weights), "read", "compute", "write" and "total", wall clock; slices are read,
            computed and written side by side, so the parts may be more than the total.
        clipped: voxels that did not fit the stored range.
        residual: the largest |shrunk result − input|, in `unit`; None where nothing was computed.
        before, after: geometry of input and result.
        derivation: model, weights id, requested text, exact grid, precision.
        difference: the map, where one was asked for and written.
    """

    id: str
    label: str
    format: str
    status: Status
    output: Path | None = None
    outputs: tuple[Path, ...] = ()
    preview: Path | None = None
    notes: tuple[Note, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    clipped: int = 0
    residual: float | None = None
    unit: Unit = ""
    before: Geometry | None = None
    after: Geometry | None = None
    derivation: Derivation | None = None
    error: MesrError | None = None
    difference: Path | None = None


class Inputs:
    """The files of a call, which nothing it writes may replace."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def check(self, places: Sequence[Path]) -> None:
        """Refuse to write where an input is, or a folder around one.

        Raises:
            OutputError: code `output-is-input`.
        """
        for place in places:
            # What is not there is no input; so a call into a new folder never looks up where its files lie.
            if os.access(place, os.F_OK) and place.resolve() in self._places:
                raise OutputError(
                    "output-is-input",
                    "The output is, or holds, an input of the same call.",
                    "Choose another folder.",
                    place,
                )

    @functools.cached_property
    def _places(self) -> frozenset[Path]:
        """Where the files lie, and the folders around them."""
        files = {file.resolve() for file in self._files}
        return frozenset(files.union(*(file.parents for file in files)))


def discover(paths: Sequence[Path], out: Path | None = None) -> Found:
    """Every volume in `paths`, without what an earlier run may have left in `out`.

    Raises:
        OutputError: code `is-input`, `out` is one of the input folders.
    """
    if out is not None and any(path.is_dir() and path.resolve() == out.resolve() for path in paths):
        raise OutputError("is-input", "The output folder is the input folder.", "Choose another folder.", out)
    found = io.discover(paths)
    if out is None or not any(path.resolve() in out.resolve().parents for path in paths):
        return found
    place = out.resolve()
    named = {path.resolve() for path in paths if place in path.resolve().parents}

    def is_ours(path: Path) -> bool:
        """Whether it lies in the output folder and was not named, nor a folder around it."""
        there = path.resolve()
        return place in there.parents and named.isdisjoint((there, *there.parents))

    ours = [item for item in found.items if all(map(is_ours, item.paths))]
    notes = list(found.notes)
    if ours:
        text = counted(
            len(ours),
            "earlier result in the output folder was left alone.",
            "earlier results in the output folder were left alone.",
        )
        notes.append(Note("earlier-results", text))
    items = [item for item in found.items if item not in ours]
    files = tuple(path for path in found.files if not is_ours(path))
    return replace(found, items=items, notes=notes, files=files)


def planned(found: Found, out: Path, settings: Settings = Settings()) -> list[tuple[Path, ...]]:
    """Where each item's result goes, and behind it where its preview and difference map go if they are asked for.

    Raises:
        UsageError: code `needs-folder`, `out` names a file and there are several studies; code `format`.
    """
    alone = len(found.items) == 1
    places = [io.output_path(out, item, format=settings.format, alone=alone) for item in found.items]
    return [beside.written(place, settings) for place in places]


def run_all(
    found: Found,
    target: Target,
    out: Path,
    settings: Settings = Settings(),
    *,
    on_start: Callable[[Item], None] | None = None,
    on_plan: OnPlan | None = None,
    on_slice: OnSlice | None = None,
) -> Iterator[Outcome]:
    """One outcome a study, as each is finished; what discovery refused comes first.

    No result replaces a file of the input, whichever study it belongs to.

    Raises:
        UsageError: at once, as `planned`.
    """
    places = planned(found, out, settings)
    inputs = Inputs(found.files)

    def outcomes() -> Iterator[Outcome]:
        yield from map(refused, found.refused)
        for item, (place, *_) in zip(found.items, places, strict=True):
            if on_start is not None:
                on_start(item)
            yield run(item, target, place, settings, inputs=inputs, on_plan=on_plan, on_slice=on_slice)

    return outcomes()


def run(
    series: Item,
    target: Target,
    out: Path,
    settings: Settings = Settings(),
    *,
    inputs: Inputs | None = None,
    on_plan: OnPlan | None = None,
    on_slice: OnSlice | None = None,
) -> Outcome:
    """Super-resolve one study and write it to `out` (`io.write`'s rule); an error becomes the outcome's.

    `inputs` are the files of the other studies of the call; a study's own are safe without it.
    """
    began = time.perf_counter()
    outcome = Outcome(series.id, series.label, series.format, "refused")
    try:
        if inputs is not None:
            inputs.check(beside.written(out, settings))
        outcome = _done(series, target, out, settings, outcome, on_plan, on_slice)
    except MesrError as error:
        outcome = replace(outcome, error=bare(error))
    except MemoryError:
        outcome = replace(outcome, error=OutOfMemory())
    except Exception as bug:
        outcome = replace(outcome, status="failed", error=bare(InternalError(bug)))
    return replace(outcome, seconds=outcome.seconds | {"total": time.perf_counter() - began})


def refused(one: Refused) -> Outcome:
    """The outcome of what discovery refused."""
    return Outcome(one.id, one.label, "", "refused", error=one.error)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0 all done, 1 a bug of ours, 2 nothing done because what was asked for makes no sense, 3 all refused,
    4 some refused."""
    return joint_exit_code(outcome.error.exit_code if outcome.error else 0 for outcome in outcomes)


def joint_exit_code(alone: Iterable[int]) -> int:
    """`exit_code` from what each study alone would end with."""
    codes = list(alone)
    bad = [code for code in codes if code != 0]
    if InternalError.exit_code in bad:
        return InternalError.exit_code
    if bad and len(bad) < len(codes):
        return 4
    return max(bad, default=0)


def _done(
    series: Item,
    target: Target,
    out: Path,
    settings: Settings,
    outcome: Outcome,
    on_plan: OnPlan | None,
    on_slice: OnSlice | None,
) -> Outcome:
    started = time.perf_counter()
    if settings.difference:
        beside.check_difference(series, out, settings)
    source = volume = series.open()
    reading = Watched(volume.slices)
    with Ahead(reading) as sources:
        volume = replace(volume, slices=sources)
        result = apply(
            volume,
            target,
            model=settings.model,
            modality=settings.modality,
            options=settings.compute,
            load=settings.load,
        )
        if (
            on_plan is not None
            and math.prod(volume.geometry.size) >= LONG_STUDY
            and isinstance(result.slices, ComputedSlices)
        ):
            on_plan(result.slices.estimate(WORTH_SAYING))
        large = 4 * math.prod(result.geometry.size[1:]) > LARGE_SLICE
        pictured = len(volume.slices) // 2 if settings.preview and not large else None
        computing = Watched(result.slices, keep=pictured)
        with Ahead(computing, wait=large) as results:
            result = replace(result, slices=results)
            waited_before, began = sources.waited, time.perf_counter()
            count = len(volume.slices)
            written = io.write(
                result,
                out,
                format=settings.format,
                force=settings.force,
                keep_private=settings.keep_private,
                on_slice=None if on_slice is None else lambda k: on_slice(k + 1, count),
            )
            seconds = {
                "start": began - started,
                "read": reading.seconds,
                "compute": computing.seconds - (sources.waited - waited_before),
                "write": time.perf_counter() - began - results.waited,
            }
            notes = [*result.notes, *written.notes]
            preview = None
            if settings.preview:
                preview, told = beside.preview_of(volume, result, out, force=settings.force)
                notes += told
            difference = None
            if settings.difference:
                difference, told = beside.difference_of(source, result, written.paths, out, target, settings)
                notes += told
    return replace(
        outcome,
        status="done",
        output=out,
        outputs=written.paths,
        preview=preview,
        notes=tuple(dict.fromkeys(notes)),
        seconds=seconds,
        clipped=written.clipped,
        residual=computing.residual,
        unit=result.unit,
        before=volume.geometry,
        after=result.geometry,
        derivation=result.derivation,
        difference=difference,
    )
