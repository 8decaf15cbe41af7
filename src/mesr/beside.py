"""What lies beside a result where it is asked for: a picture of before and after, and a map of what was added.

Neither takes anything from the result: that one could not be made is a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import MesrError
from .grid import Target
from .io import Item
from .io.formats import WRITTEN_BY_SUFFIX, chosen, suffix_of
from .volume import Note, Volume

if TYPE_CHECKING:
    from .job import Settings

PREVIEW, DIFFERENCE = "preview.png", "difference.dcm"


def written(out: Path, settings: Settings) -> tuple[Path, ...]:
    """What is made for a study: the result, and beside it the preview and the map that are asked for."""
    endings = [PREVIEW] * settings.preview + [DIFFERENCE] * settings.difference
    return (out, *(_named(out, ending) for ending in endings))


def check_difference(series: Item, out: Path, settings: Settings) -> None:
    """Refuse a difference map that could not be written, before anything is computed.

    Raises:
        UsageError, OutputError, MissingExtra: as `difference.check`.
    """
    from .difference import check

    format, _, _ = chosen(out, series.format, settings.format)
    check(format, _named(out, DIFFERENCE), force=settings.force)


def difference_of(
    source: Volume, result: Volume, files: Sequence[Path], out: Path, target: Target, settings: Settings
) -> tuple[Path | None, list[Note]]:
    """Write the map beside the result `out`, which is in `files`; where it is, or a note on why it is not."""
    from .difference import write_difference

    path = _named(out, DIFFERENCE)
    assert result.derivation is not None
    try:
        write_difference(
            source,
            files,
            path,
            target,
            result.derivation,
            modality=settings.modality,
            options=settings.compute,
            force=settings.force,
        )
    except MesrError as error:
        return None, [Note("no-difference", f"The difference map could not be written: {error.sentence}")]
    return path, []


def preview_of(volume: Volume, result: Volume, out: Path, *, force: bool) -> tuple[Path | None, list[Note]]:
    """Draw the picture beside the result `out`; where it is, or a note on why it is not."""
    from .preview import before_after

    path = _named(out, PREVIEW)
    try:
        before_after(volume, result, path, force=force)
    except MesrError as error:
        return None, [Note("no-preview", f"The preview could not be drawn: {error.sentence}")]
    return path, []


def _named(out: Path, ending: str) -> Path:
    """The name of the result with another ending in place of its format's."""
    suffix = suffix_of(out)
    stem = out.name.removesuffix(suffix) if suffix in WRITTEN_BY_SUFFIX else out.name
    return out.with_name(f"{stem}.{ending}")
