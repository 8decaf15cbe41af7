"""Where the scans of patients lie below some folders: under the names `ct`, `cbct` and `mask`, or as DICOM files of any name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .errors import TooLarge, UnreadableInput
from .io.archive import is_zip
from .io.dicom import is_dicom
from .io.dicom.group import CLAIMED_SUFFIXES
from .io.formats import READ_BY_SUFFIX, suffix_of
from .limits import MAX_FILES

SCANS = ("ct", "cbct", "mask")


class Layout(NamedTuple):
    """What lies below the paths a user named.

    Attributes:
        named: folders that hold a CT and a CBCT by their names, and what of them is which scan.
        homes: every other DICOM file and zip, and the uppermost folder it lies in.
        shut: folders that cannot be entered.
    """

    named: list[tuple[Path, dict[str, Path]]]
    homes: dict[Path, Path]
    shut: list[OSError]


def layout(paths: Sequence[Path]) -> Layout:
    """In order of names, each folder once, whatever links lead to it; hidden ones are passed over.

    What must not be asked for a folder it is none: `os.path` answers so, where a `Path` raises.

    Raises:
        UnreadableInput: code `not-found`.
        TooLarge: code `too-many-files`.
    """
    found = Layout([], {}, [])
    seen: set[Path] = set()
    count = 0
    for path in paths:
        if not path.exists():
            raise UnreadableInput("not-found", "There is no such file or folder.", path=path)
        if path.is_file() and _may_be_exported(path):
            found.homes[path] = path
        for place, folders, files in os.walk(path, onerror=found.shut.append, followlinks=True):
            here = Path(place)
            real = here.resolve()
            folders[:] = [] if real in seen else sorted(n for n in folders if not n.startswith("."))
            if real in seen:
                continue
            seen.add(real)
            count += len(files) + len(folders)
            if count > MAX_FILES:
                raise TooLarge("too-many-files", f"The folder holds more than {MAX_FILES} files.", path=path)
            # A link after what it may lead to, whose name is the one meant.
            folders.sort(key=lambda name: os.path.islink(here / name))  # noqa: PTH114
            scans = _scans(here, [*folders, *sorted(files)])
            if {"ct", "cbct"} <= set(scans):
                folders.clear()
                found.named.append((here, scans))
                continue
            home = path / Path(*here.relative_to(path).parts[:1])
            files = sorted(name for name in files if not name.startswith("."))
            found.homes.update({here / name: home for name in files if _may_be_exported(here / name)})
    return found


def _may_be_exported(path: Path) -> bool:
    """Whether a file is DICOM, claims to be, is a zip or cannot be opened, which is then told."""
    try:
        if not path.is_file() or suffix_of(path) in READ_BY_SUFFIX:
            return False
        return path.suffix.lower() in CLAIMED_SUFFIXES or is_dicom(path) or is_zip(path)
    except (OSError, UnreadableInput):
        return True


def _scans(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """What of a folder is which scan; of several under one name the first."""
    found: dict[str, Path] = {}
    for name in names:
        suffix = suffix_of(Path(name))
        kind = name.lower().removesuffix(suffix)
        if kind in SCANS and (suffix in READ_BY_SUFFIX or os.path.isdir(folder / name)):  # noqa: PTH112
            found.setdefault(kind, folder / name)
    return found
