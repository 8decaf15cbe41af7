"""The one door for reading and writing volumes; a format's library is imported when a file of it is met."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..errors import OutputError, UsageError
from ..files import atomic_folder, atomic_path, check_replaceable, counted
from ..volume import Note, Volume
from .discovery import Found, Item, Refused, discover, files_of, several
from .formats import SUFFIX, WRITTEN_BY_SUFFIX, chosen, is_classic, module, suffix_of
from .stored import Source

__all__ = ["Found", "Item", "Refused", "Written", "discover", "output_path", "read", "write"]


class Written(NamedTuple):
    """What `write` left on disk.

    Attributes:
        paths: the files, in slice order.
        clipped: voxels that did not fit the stored type and were set to the nearest value that does.
        notes: what is worth telling.
    """

    paths: tuple[Path, ...]
    clipped: int
    notes: tuple[Note, ...]


def read(path: str | os.PathLike[str]) -> Volume:
    """The one volume in `path`: a file, a folder with one series, or a zip of one.

    Other series or files beside it that cannot be used are told in its notes.

    Raises:
        InputError: nothing usable is there, or code `several-volumes`.
    """
    place = Path(path)
    found = discover([place])
    if len(found.items) > 1:
        raise several(len(found.items), place)
    if not found.items:
        raise found.refused[0].error
    notes = list(found.notes)
    if found.refused:
        several_more = counted(len(found.refused), "other file or series", "other files or series")
        notes.append(Note("refused-beside", f"{several_more} could not be used."))
    volume = found.items[0].open()
    return replace(volume, notes=(*volume.notes, *notes))


def output_path(
    out: str | os.PathLike[str], item: Item, *, format: str | None = None, alone: bool = True
) -> Path:
    """Where the result of `item` goes: `out` itself or a name in it, by the rule of `write`.

    Args:
        out: what the user named.
        item: the input.
        format: the format asked for; None takes the suffix of `out`, else the input's.
        alone: whether this is the only input; a file name cannot serve several.

    Raises:
        UsageError: codes `format`, `needs-folder`.
    """
    place = Path(out)
    kind, suffix, is_file = chosen(place, item.format, format)
    if is_file:
        if not alone:
            raise UsageError("needs-folder", "Several results need a folder, found the name of one file.")
        return place
    if format is None and suffix_of(item.paths[0]) in WRITTEN_BY_SUFFIX and kind != "dicom":
        suffix = suffix_of(item.paths[0])
    if kind == "dicom" or (kind == "png" and item.size[0] > 1):
        return place / item.name
    return place / f"{item.name}{suffix}"


def write(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    force: bool = False,
    keep_private: bool = False,
    on_slice: Callable[[int], None] | None = None,
) -> Written:
    """Write `volume` slice by slice; complete at `path`, or not there at all.

    The rule: a path that ends in .nii, .nii.gz, .nrrd, .mha, .npy, .png or .dcm names the file of a result
    that is one file. One that ends like a picture of another format (.jpg, .tif) is refused, where it is no folder
    yet. Any other path names a folder: a DICOM series and a stack of PNG slices fill it with
    their files, the other formats put one file `image.*` into it. A classic DICOM series or PNG stack of several
    slices always is a folder. The format is the one asked for, else the suffix's, else the source's, else npy.
    What comes from an Enhanced DICOM object becomes one such object, one file, unless classic images are asked for.

    Args:
        volume: as read or computed.
        path: where to.
        format: `"dicom"`, `"nifti"`, `"nrrd"`, `"metaimage"`, `"npy"`, `"png"`, a suffix without its dot, or
            `"dicom-classic"`, DICOM as single-frame images whatever the source is.
        force: replace what is there; never the input itself, nor a folder with other things in it.
        keep_private: keep a DICOM source's private attributes.
        on_slice: called with k after each slice.

    Raises:
        UsageError: codes `format`, `needs-folder`.
        OutputError: codes `exists`, `unwritable`, `output-is-input`, `other-files`, `not-finite`.
        InputError: a lazy slice proves unreadable.
    """
    target = Path(path)
    kind, suffix, is_file = chosen(target, _format_of(volume), format)
    count = len(volume.slices)
    whole = kind == "dicom" and not is_classic(format) and _is_whole(volume)
    if is_file and count > 1 and kind in ("dicom", "png") and not whole:
        raise UsageError(
            "needs-folder",
            f"A {suffix} file holds one slice, the volume has {count}.",
            "Name a folder, without that suffix.",
        )
    if whole:
        return _write_enhanced(volume, target, is_file, force, keep_private, on_slice)
    if kind == "dicom":
        return _write_dicom(volume, target, is_file, force, keep_private, on_slice)
    if kind == "png" and not is_file:
        return _write_stack(volume, target, force, on_slice)
    file = target if is_file else target / f"image{suffix}"
    _refuse_input(volume, file)
    with atomic_path(file, force=force) as temporary:
        place = [temporary] if kind == "png" else temporary
        clipped, notes = module(kind).write(volume, place, on_slice)
    return Written((file,), clipped, notes)


def _write_stack(
    volume: Volume, folder: Path, force: bool, on_slice: Callable[[int], None] | None
) -> Written:
    _refuse_folder(volume, folder, SUFFIX["png"], force)
    names = [f"{k + 1:05d}.png" for k in range(len(volume.slices))]
    with atomic_folder(folder, force=force) as temporary:
        clipped, notes = module("png").write(volume, [temporary / name for name in names], on_slice)
    return Written(tuple(folder / name for name in names), clipped, notes)


def _write_dicom(
    volume: Volume,
    target: Path,
    is_file: bool,
    force: bool,
    keep_private: bool,
    on_slice: Callable[[int], None] | None,
) -> Written:
    from .dicom.write import write_series

    if not is_file:
        _refuse_folder(volume, target, SUFFIX["dicom"], force)
        report = write_series(volume, target, force=force, keep_private=keep_private, on_slice=on_slice)
        return Written(tuple(sorted(target.glob("*.dcm"))), report.clipped, tuple(report.notes))
    _refuse_input(volume, target)
    with (
        atomic_path(target, force=force) as temporary,
        tempfile.TemporaryDirectory(prefix=".", dir=temporary.parent) as beside,
    ):
        series = Path(beside, "series")
        report = write_series(volume, series, keep_private=keep_private, on_slice=on_slice)
        (file,) = series.glob("*.dcm")
        file.replace(temporary)
    return Written((target,), report.clipped, tuple(report.notes))


def _write_enhanced(
    volume: Volume,
    target: Path,
    is_file: bool,
    force: bool,
    keep_private: bool,
    on_slice: Callable[[int], None] | None,
) -> Written:
    from .dicom.enhanced import write_enhanced

    if is_file:
        _refuse_input(volume, target)
        report = write_enhanced(volume, target, force=force, keep_private=keep_private, on_slice=on_slice)
        return Written((target,), report.clipped, report.notes)
    _refuse_folder(volume, target, SUFFIX["dicom"], force)
    with atomic_folder(target, force=force) as temporary:
        file = temporary / "IM0001.dcm"
        report = write_enhanced(volume, file, keep_private=keep_private, on_slice=on_slice)
    return Written((target / file.name,), report.clipped, report.notes)


def _is_whole(volume: Volume) -> bool:
    from .dicom.enhanced import is_whole

    return is_whole(volume)


def _format_of(volume: Volume) -> str:
    if isinstance(volume.source, Source):
        return volume.source.format
    return "npy" if volume.source is None else "dicom"


def _refuse_input(volume: Volume, file: Path) -> None:
    if file.exists() and file.resolve() in {source.resolve() for source in files_of(volume)}:
        raise OutputError("output-is-input", "The output is the input itself.", "Choose another name.", file)


def _refuse_folder(volume: Volume, folder: Path, suffix: str, force: bool) -> None:
    """With `force` a folder is replaced whole, so it must hold nothing but an earlier result."""
    check_replaceable(
        folder,
        files_of(volume),
        lambda held: all(not f.is_dir() and f.suffix.lower() == suffix for f in held.iterdir()),
        f"The output folder to replace holds other things than {suffix} files.",
        force=force,
    )
