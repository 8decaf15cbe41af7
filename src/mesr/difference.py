"""What a result adds to plain interpolation, as a map beside it: the result as written, less the windowed sinc.

What a network made up is not to be told from what it got right by this; but it shows where the two are not alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .errors import UsageError
from .files import check_file
from .grid import Target
from .inference import Options
from .io.dicom import DicomSeries, discover
from .io.dicom.parametric_map import Quantity, require, write_map
from .upscaling import apply
from .volume import Derivation, Slice, Slices, Volume

HU_WINDOW = 200.0
"""Width of the window a difference in HU is first shown in: −100 to 100."""

_SUBTRACTION = ("113062", "DCM", "Pixel by pixel subtraction")


class Differences:
    """The slices of one volume less those of another on the same grid; nothing where either has padding."""

    def __init__(self, minuend: Slices, subtrahend: Slices) -> None:
        self._minuend, self._subtrahend = minuend, subtrahend

    def __len__(self) -> int:
        return len(self._minuend)

    def __getitem__(self, k: int, /) -> Slice:
        a, b = self._minuend[k], self._subtrahend[k]
        values = a.values - b.values
        for padding in (a.padding, b.padding):
            if padding is not None:
                values[padding] = 0
        return Slice(values)


def check(format: str, path: Path, *, force: bool = False) -> None:
    """Refuse, before any work, a difference that could not be written.

    Args:
        format: of the result.
        path: of the map.
        force: replace it where it exists.

    Raises:
        MissingExtra: highdicom is not installed.
        OutputError: codes `exists`, `unwritable`.
        UsageError: code `difference-format`; only DICOM has a place for it.
    """
    if format != "dicom":
        raise UsageError(
            "difference-format",
            "A difference map belongs to a DICOM result, and the result is to be of another format.",
            "Leave out --difference, or write DICOM.",
        )
    require()
    check_file(path, force=force)


def write_difference(
    source: Volume,
    written: Sequence[Path],
    path: Path,
    target: Target,
    derivation: Derivation,
    *,
    modality: str | None = None,
    options: Options = Options(),  # noqa: B008
    force: bool = False,
) -> None:
    """Write the difference between a derived series and the interpolated source, as a Parametric Map.

    Args:
        source: what the series was derived from.
        written: the files of the derived series.
        path: of the map.
        target: of the result.
        derivation: of the result.
        modality: for a source that does not say.
        options: device and precision.
        force: replace `path`.

    Raises:
        OutputError: as `write_map`.
        InputError: a slice cannot be read.
    """
    (found,) = discover(written).series
    result = found.open()
    plain = apply(source, target, model="sinc", modality=modality, options=options)
    differences = Differences(result.slices, plain.slices)
    assert isinstance(result.source, DicomSeries)
    assert isinstance(source.source, DicomSeries)
    taken = {*source.source.sibling_series_numbers, *filter(None, [source.source.series_number])}
    series = replace(result.source, sibling_series_numbers=frozenset(taken))
    volume = replace(result, slices=differences, source=series, derivation=derivation)
    write_map(volume, path, _quantity(volume), force=force)


def _quantity(volume: Volume) -> Quantity:
    explanation = "Derived image less windowed-sinc interpolation of its source"
    if volume.unit == "HU":
        concept, unit = ("112031", "DCM", "Attenuation Coefficient"), ("[hnsf'U]", "UCUM", "Hounsfield unit")
        return Quantity("difference", "DIFFERENCE_HU", explanation, concept, unit, _SUBTRACTION, HU_WINDOW)
    middle = volume.slices[len(volume.slices) // 2].values
    window = max(1.0, 4 * float(np.std(middle)))
    concept, unit = ("110852", "DCM", "MR signal intensity"), ("1", "UCUM", "no units")
    return Quantity("difference", "DIFFERENCE", explanation, concept, unit, _SUBTRACTION, window)
