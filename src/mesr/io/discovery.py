"""What there is to do in some files, folders and zips: every volume, opened only when asked for.

A folder is searched with all below it that is not hidden. A file named by the user must be an image or is
refused; one merely met in a folder is passed over unless its name claims an image. PNG pictures in a folder
that holds scans are taken for previews and left alone.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..errors import InputError, MesrError, TooLarge, UnreadableInput, UnsupportedInput, bare
from ..files import counted, plain_text, safe_name
from ..limits import MAX_FILES
from ..volume import Modality, Note, Volume
from .archive import is_zip, private_folder, unpack
from .finite import screen
from .formats import LABELS, READ_BY_SUFFIX, module, suffix_of
from .stored import Source
from .views import kept, kept_each, one_by_one


@dataclass(frozen=True)
class Item:
    """One volume that can be opened.

    Attributes:
        id: 12 hex digits, the same for the same content; no patient data.
        label: for people, `"CT 512×512×30"`; no patient data.
        format: a name of `formats.SUFFIX`.
        modality: "CT", "MR", or None where the file does not say.
        size: (slices, rows, columns).
        paths: the files it is read from.
        name: relative name for outputs without a suffix, safe parts joined by `/`, unique within a `Found`.
        open: reads it; raises `InputError`.
        open_slices: reads each slice as a volume of its own; raises `InputError`.
    """

    id: str
    label: str
    format: str
    modality: Modality | None
    size: tuple[int, int, int]
    paths: tuple[Path, ...] = field(repr=False)
    name: str = field(repr=False)
    open: Callable[[], Volume] = field(repr=False)
    open_slices: Callable[[], list[Volume]] = field(repr=False)


@dataclass(frozen=True)
class Refused:
    """Something that looked like a volume and is none that can be used.

    Attributes:
        id: 12 hex digits.
        label: for people; no patient data.
        error: why.
        open_slices: for a DICOM series refused as a whole (uneven gaps), its slices as volumes of their own.
    """

    id: str
    label: str
    error: MesrError
    open_slices: Callable[[], list[Volume]] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Found:
    """The outcome of `discover`.

    Attributes:
        files: every file that was looked at, used or not, but those inside a zip.
        archives: the folder each zip was unpacked into, and the zip.
    """

    items: list[Item]
    refused: list[Refused]
    notes: list[Note]
    files: tuple[Path, ...] = field(default=(), repr=False)
    archives: Mapping[Path, Path] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class _File:
    """A file to look at: where it is, its name within what the user named, and whether the user named it.

    One from a zip keeps the folder that was unpacked into, and says which zip.
    """

    path: Path
    relative: Path
    explicit: bool
    keep: tempfile.TemporaryDirectory[str] | None = None
    archive: Path | None = None


def discover(paths: Sequence[Path], below: Path | None = None) -> Found:
    """Every volume in `paths`: files, folders and zips, one study or many. Reads headers only.

    Zips are unpacked below the folder `below`, else where the system has temporary files. What cannot be used is in `refused`, what was passed over is counted in `notes`; nothing is raised.
    """
    found = Found([], [], [])
    files: list[_File] = []
    for path in paths:
        try:
            files += _expanded(path, found.refused, below)
        except MesrError as error:
            found.refused.append(_refusal(path.name, error))
        except OSError:
            unreadable = UnreadableInput("unreadable", "The file or folder cannot be opened.", path=path)
            found.refused.append(_refusal(path.name, unreadable))
    _sort_out(files, found)
    if not found.items and not found.refused:
        nothing = UnreadableInput(
            "no-images",
            "No image of a known kind was found.",
            "Known are DICOM, NIfTI, NRRD, MetaImage, npy and greyscale PNG.",
            paths[0] if paths else None,
        )
        found.refused.append(_refusal("", nothing))
    looked_at = tuple(file.path for file in files if file.keep is None)
    archives = {Path(file.keep.name): file.archive for file in files if file.keep and file.archive}
    return replace(found, items=_unique(found.items), files=looked_at, archives=archives)


def _expanded(path: Path, refused: list[Refused], below: Path | None) -> Iterator[_File]:
    if not path.exists():
        raise UnreadableInput("not-found", "There is no such file or folder.", path=path)
    if path.is_dir():
        for count, file in enumerate(_below(path, refused)):
            if count >= MAX_FILES:
                raise TooLarge("too-many-files", f"The folder holds more than {MAX_FILES} files.", path=path)
            if file.is_file():
                yield _File(file, file.relative_to(path), False)
    elif path.is_file() and is_zip(path):
        private = private_folder(below)
        place = Path(private.name)
        unpacked = unpack(path, place)
        refused.extend(_refusal(f"{path.name}/{n}", error) for n, error in enumerate(unpacked.refused))
        for file in unpacked.files:
            yield _File(file, Path(path.stem) / file.relative_to(place), False, private, path)
    elif path.is_file():
        yield _File(path, Path(path.name), True)
    else:
        raise UnreadableInput("not-a-file", "A file or folder was expected, found something else.", path=path)


def _below(folder: Path, refused: list[Refused]) -> Iterator[Path]:
    """What is not hidden below `folder`, by name; a folder that cannot be entered is told in `refused`.

    A hidden folder may be what a killed run left half written. Links to folders are followed, each folder once.
    """
    seen: set[Path] = set()

    def shut(error: OSError) -> None:
        place = str(error.filename)
        told = UnreadableInput("unreadable", "A folder in the input cannot be opened.", path=place)
        refused.append(_refusal(place, told, "folder"))

    for place, folders, names in os.walk(folder, onerror=shut, followlinks=True):
        real = Path(place).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _sort_out(files: list[_File], found: Found) -> None:
    by_format = {
        file.path: READ_BY_SUFFIX[s] for file in files if (s := suffix_of(file.path)) in READ_BY_SUFFIX
    }
    others = [file for file in files if file.path not in by_format]
    passed_over = _dicom(others, found) if others else 0
    scans = bool(found.items) or any(name != "png" for name in by_format.values())
    pictures = 0
    for file in files:
        format = by_format.get(file.path)
        if format is None:
            continue
        if format == "png" and scans and not file.explicit:
            pictures += 1
        else:
            _add(file, format, found)
    if pictures:
        text = counted(pictures, "PNG picture beside scans was", "PNG pictures beside scans were")
        found.notes.append(Note("pictures", f"{text} left alone."))
    if passed_over:
        text = counted(passed_over, "file that is no image was", "files that are no images were")
        found.notes.append(Note("other-files", f"{text} passed over."))


def _dicom(files: list[_File], found: Found) -> int:
    """Find the series among `files`, together: slices named one by one are one series. The number passed over."""
    from .dicom import discover as discover_dicom
    from .dicom import open_slices

    explicit = {file.path for file in files if file.explicit}
    keep = [archive for archive in {id(file.keep): file.keep for file in files}.values() if archive]
    outcome = discover_dicom([file.path for file in files])
    for series in outcome.series:
        slices = partial(kept_each, partial(open_slices, series), keep)
        if series.error is not None:
            found.refused.append(Refused(series.id, series.label, bare(series.error), slices))
            continue
        name = f"{safe_name(series.modality)}-{series.id}"
        paths = files_of(series.open())
        opening = kept(series.open, keep)
        item = Item(
            series.id, series.label, "dicom", series.modality, series.size, paths, name, opening, slices
        )
        found.items.append(item)
    found.refused.extend(_refusal(error.path.name if error.path else "", error) for error in outcome.refused)
    for kind, count in outcome.skipped.items():
        text = counted(count, "DICOM object was", "DICOM objects were")
        found.notes.append(Note("skipped-objects", f"{text} skipped: {plain_text(kind)}."))
    for path in outcome.foreign:
        if path in explicit:
            error: MesrError
            if path.suffix.lower() in (".hdr", ".img"):
                error = UnsupportedInput(
                    "pair",
                    "An image in one file was expected, found one of a pair.",
                    "Convert it to .nii.",
                    path,
                )
            else:
                error = UnreadableInput(
                    "unknown-format", "The file is neither DICOM nor of another known format.", path=path
                )
            found.refused.append(_refusal(path.name, error))
    return len(set(outcome.foreign) - explicit)


def _add(file: _File, format: str, found: Found) -> None:
    reader = module(format).read
    label = LABELS[format]
    try:
        volume: Volume = reader(file.path)
        id = _identity(file)
    except MesrError as error:
        found.refused.append(_refusal(str(file.relative), error, label))
        return
    slices, rows, columns = volume.geometry.size
    stem = file.relative.with_name(file.relative.name[: -len(suffix_of(file.relative))] or "unnamed")
    opening = kept(lambda: screen(reader(file.path)), file.keep)
    found.items.append(
        Item(
            id,
            f"{label} {columns}×{rows}×{slices}",
            format,
            volume.modality,
            volume.geometry.size,
            (file.path,),
            "/".join(safe_name(part) for part in stem.parts),
            opening,
            lambda: one_by_one(opening()),
        )
    )


def _identity(file: _File) -> str:
    """From name, length and first bytes: stable where the file is copied, cheap where it is large."""
    try:
        with file.path.open("rb") as stream:
            head = stream.read(4096)
            length = stream.seek(0, os.SEEK_END)
    except OSError:
        raise UnreadableInput("unreadable", "The file could not be read.", path=file.path) from None
    text = f"{file.relative.as_posix()}\0{length}\0".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text + head).hexdigest()[:12]


def _refusal(name: str, error: MesrError, label: str = "file") -> Refused:
    id = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return Refused(id, label, bare(error))


def _unique(items: list[Item]) -> list[Item]:
    """Names that occur twice get the id, and a number where that too occurs twice."""
    taken: set[str] = set()
    named: list[Item] = []
    for item in items:
        name, number = item.name, 1
        while name.lower() in taken:
            name = f"{item.name}-{item.id}" + (f"-{number}" if number > 1 else "")
            number += 1
        taken.add(name.lower())
        named.append(replace(item, name=name))
    return named


def files_of(volume: Volume) -> tuple[Path, ...]:
    """The files a volume is read from; empty for an array."""
    if volume.source is None:
        return ()
    if isinstance(volume.source, Source):
        return (volume.source.path,)
    from .dicom import DicomSeries

    if not isinstance(volume.source, DicomSeries):
        return ()
    return tuple(dict.fromkeys(instance.path for instance in volume.source.instances))


def several(count: int, path: Path) -> InputError:
    """The refusal of `read` where there is more than one volume."""
    return InputError(
        "several-volumes",
        f"One volume was expected, {count} were found.",
        "Name one file, or take them one by one from mesr.io.discover.",
        path,
    )
