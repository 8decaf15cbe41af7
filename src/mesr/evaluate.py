"""Models × scales × scans → results.csv: every method on the same low-resolution image, so that all is paired.

Slices are read one at a time and a row is on disk as soon as it is measured; what is there already for the
same code, weights and data is not measured again. Each look at a test set is logged (`protocol.md`, Data).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .data import reference_pair
from .degrade import recipe, text_of
from .device import named, resolve_device
from .errors import UsageError
from .grid import Grid, Number, Target
from .inference import Options, Upscaler, arithmetic
from .intensity import Window
from .metrics import body_mask, measure
from .models import SuperResolver
from .models import weights as weights_files
from .models.weights import Card
from .results import Key, ResultsFile, Row, code_identity
from .testset import EvaluationSpec, assert_unseen, counted_air, log_look, subjects
from .volume import FloatImage, Mask

SCALES = ("1.5", "2", "2.5", "3", "3.5", "4")
"""The protocol's six."""

Scale = tuple[Fraction, Fraction]
Model = tuple[SuperResolver, Card]
Reporter = Callable[[int, int, str], None]


class Pair(NamedTuple):
    """A low-resolution slice, the truth, and where the truth is judged.

    Attributes:
        lr, hr: (H, W) and (H', W') in the networks' range.
        grid: from the one to the other.
        body: (H', W') (`metrics.body_mask`).
        border: pixels of the result that are left out on each side.
    """

    lr: FloatImage
    hr: FloatImage
    grid: Grid
    body: Mask
    border: int


def run(
    models: Sequence[str | Path],
    spec: EvaluationSpec,
    out: Path,
    *,
    scales: Sequence[Number | Sequence[Number]] = SCALES,
    degradation: str = "bicubic",
    seed: int = 0,
    options: Options = Options(),  # noqa: B008
    command: str = "",
    on_slice: Reporter | None = None,
) -> list[Row]:
    """Measure, adding to `out/results.csv`, and give this run's rows, those found there included.

    A method that is not defined for a scale (an integer-scale network at 2.5) has no rows there.

    Args:
        models: names as for `models.weights.load`.
        spec: from `testset.specification` or `testset.of_paths`.
        out: folder of results.csv.
        scales: numbers, decimals or fractions as text, or per axis (`"1.3x2.2"`); at least 1.
        degradation: a recipe of `degrade`, such as `bicubic` or `noise:sigma=0.01`.
        seed: of the recipe's noise.
        options: device and precision.
        command: what the log of looks at a test set says.
        on_slice: called with slices done, slices in all and the scan's name.

    Raises:
        UsageError: a scale or the degradation makes no sense, a network was trained on one of the scans, or
            nothing is there to measure.
        InputError: a scan cannot be read, or results.csv is of another version.
    """
    kind = recipe(degradation)
    degradation = text_of(kind)
    asked = {label(scale): scale for scale in map(parse_scale, scales)}
    loaded = weights_files.load_each(models)
    assert_unseen(spec, [card for _, card in loaded])
    work = list(subjects(spec))
    if not work or not asked:
        modalities = "/".join(sorted({scan.modality for scan in spec.scans}))
        raise UsageError(
            "nothing-to-measure",
            f"Slices and scales to measure at are needed, found {len(work)} slices of {modalities or 'scans'}"
            f" and {len(asked)} scales.",
            "Give --scales." if work else "Check the modality, and the sites of a specification.",
        )
    if spec.split == "test":
        log_look(Path(spec.looks), command)
    file = ResultsFile(out / "results.csv")
    commit = code_identity()
    rows: list[Row] = []
    for done, one in enumerate(work):
        reference = counted_air(one.volume.slices[one.k], one.volume.unit, one.window)
        about = one.about(reference) | {"commit": commit, "seed": seed, "degradation": degradation}
        source = cache(partial(one.seen_by, kind, reference, seed))
        for name, scale in asked.items():
            make = partial(degraded, one.window.forward(reference), scale, degradation, seed, source)
            rows += measured(loaded, make, one.window, about | {"scale": name}, file, options)
        if on_slice is not None:
            on_slice(done + 1, len(work), one.scan.label)
    return rows


def measured(
    models: Sequence[Model],
    make: Callable[[], Pair],
    window: Window,
    about: dict[str, Any],
    file: ResultsFile | None,
    options: Options,
) -> Iterator[Row]:
    """Every method on one pair, in their order; the pair is made only when one has no row in `file` yet.

    A row that is there takes over what the specification calls its site and patient now.

    Args:
        make: makes the pair.
        window: intensity map of the pair.
        about: the columns that do not depend on the method.
    """
    pair: Pair | None = None
    device = resolve_device(options.device)
    for model, card in models:
        precision = named(arithmetic(model, options.precision, device))
        own: dict[str, Any] = {"model": card.name, "weights_id": card.weights_id, "precision": precision}
        held = file.known.get(Key.of(about | own)) if file is not None else None
        if held is not None and file is not None:
            if changed := {
                name: value for name, value in (about | own).items() if getattr(held, name) != value
            }:
                held = replace(held, **changed)
                file.add(held)
            yield held
            continue
        pair = pair or make()
        # The effective scale may be off what was asked for by a fraction of a pixel.
        if not all(model.scales.covers(round(scale, 2)) for scale in pair.grid.scale[1:]):
            continue
        row = Row(**about, **own, **_score(model, pair, window, options))
        if file is not None:
            file.add(row)
        yield row


def degraded(
    hr: FloatImage,
    scale: Scale,
    degradation: str = "bicubic",
    seed: int = 0,
    source: Callable[[], FloatImage] | None = None,
) -> Pair:
    """A reference slice, cropped, and its low-resolution image by a recipe of `degrade`.

    Args:
        hr: (H, W) in the networks' range.
        seed: of the recipe's noise, which differs between slices that differ.
        source: gives what the low-resolution image is made from, where that is not `hr` (`Subject.seen_by`).
    """
    below = None if source is None else torch.from_numpy(source())[None, None]
    truth = torch.from_numpy(hr)[None, None]
    lr, cut, grid = reference_pair(truth, scale, degradation, source=below, seed=seed)
    reference = cut[0, 0].numpy()
    return Pair(lr[0, 0].numpy(), reference, grid, body_mask(reference), math.ceil(max(scale)))


def parse_scale(value: Number | Sequence[Number]) -> Scale:
    """The scale of rows and columns from one number or two, at least 1.

    Raises:
        UsageError: it is none.
    """
    numbers = Target.of(scale=value).scale or ()
    if len(numbers) > 2 or min(numbers) < 1:
        raise UsageError(
            "scales", f"A scale to measure at is one or two numbers of at least 1, found {str(value)[:40]!r}."
        )
    return numbers[0], numbers[-1]


def label(scale: Scale) -> str:
    """A scale as the results write it: `"2.5"`, `"1.3x2.2"`."""
    rows, columns = (f"{float(s):.10g}" for s in scale)
    return rows if rows == columns else f"{rows}x{columns}"


def _score(model: SuperResolver, pair: Pair, window: Window, options: Options) -> dict[str, Any]:
    """The columns of one method on one pair, computed through the door that `mesr upscale` uses."""
    upscaler = Upscaler(model, pair.grid, window, options)
    values = window.inverse(pair.lr)
    start = time.perf_counter()
    result = upscaler.compute(values)
    seconds = time.perf_counter() - start
    return {
        "scale_rows": pair.grid.scale[1],
        "scale_columns": pair.grid.scale[2],
        "rows": pair.hr.shape[0],
        "columns": pair.hr.shape[1],
        "seconds": seconds,
        **measure(window.forward(result), pair.hr, pair.body, pair.border, window.width)._asdict(),
    }
