"""Zip input, unpacked into a private folder as if every entry wanted to do harm.

The names in an archive are never used: entries become numbered files that keep a known suffix at most, so
formats of several files (`.mhd` with `.raw`) cannot come in a zip. An archive that tries to write outside its
folder, or to unpack to more than `limits.py` allows, is refused as a whole.
"""

from __future__ import annotations

import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import InputError, TooLarge, UnreadableInput, UnsupportedInput
from ..limits import MAX_ZIP_BYTES, MAX_ZIP_ENTRIES, MAX_ZIP_RATIO, SMALL_ZIP_ENTRY
from .formats import claimed

_DIRECTORY_BYTES_PER_ENTRY = 160
_CHUNK = 1 << 20
_RESERVED_BYTES = 1 << 28


@dataclass
class Unpacked:
    """What came out of an archive.

    Attributes:
        files: in the order of the archive.
        refused: entries that were left out, and why.
    """

    files: list[Path] = field(default_factory=list)
    refused: list[InputError] = field(default_factory=list)


def is_zip(path: Path) -> bool:
    """Whether the file begins like a zip archive."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


def private_folder(below: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder that only this user can enter, removed when it is closed or forgotten.

    It lies below `below`, else where the system has temporary files. The volumes read from it are lazy: keep it as
    long as they are used.
    """
    return tempfile.TemporaryDirectory(prefix="mesr-", dir=below)


def unpack(archive: Path, folder: Path) -> Unpacked:
    """Unpack `archive` into `folder`, which exists and is empty.

    Raises:
        UnreadableInput: codes `not-zip`, `damaged-zip`, `hostile-zip`.
        UnsupportedInput: code `encrypted-zip`.
        TooLarge: code `zip-too-large`.
    """
    try:
        _check_directory(archive)
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            _check_entries(entries, folder)
            return _extract(opened, [entry for entry in entries if _wanted(entry)], folder)
    except InputError as error:
        error.path = archive
        raise
    except OSError:
        raise UnreadableInput("unreadable", "The archive cannot be read.", path=archive) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, struct.error):
        # zipfile quotes names of entries, which may be names of patients.
        raise _damaged(archive) from None


def _check_directory(archive: Path) -> None:
    """Look at the directory's size before zipfile reads it whole (APPNOTE 4.3.14, 4.3.16)."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 22 - 20))
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) < at + 22:
            raise UnreadableInput("not-zip", "The file is not a zip archive, or is cut short.")
        count, directory = struct.unpack_from("<HI", tail, at + 10)
        if (count == 0xFFFF or directory == 0xFFFFFFFF) and tail[at - 20 : at - 16] == b"PK\x06\x07":
            file.seek(struct.unpack_from("<Q", tail, at - 12)[0])
            count, directory = struct.unpack_from("<QQ", file.read(56), 32)
    if count > MAX_ZIP_ENTRIES or directory > MAX_ZIP_ENTRIES * _DIRECTORY_BYTES_PER_ENTRY:
        raise TooLarge("zip-too-large", f"The archive has more than {MAX_ZIP_ENTRIES} entries.")


def _check_entries(entries: list[zipfile.ZipInfo], folder: Path) -> None:
    """Refuse the whole archive for the sake of one bad entry: it was not made by accident."""
    if len(entries) > MAX_ZIP_ENTRIES:
        raise TooLarge("zip-too-large", f"The archive has more than {MAX_ZIP_ENTRIES} entries.")
    for entry in entries:
        name = entry.orig_filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or ":" in name.split("/")[0] or "\0" in name:
            raise UnreadableInput("hostile-zip", "The archive holds a name that points outside of it.")
        mode = entry.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise UnreadableInput("hostile-zip", "The archive holds links or devices.")
        if entry.flag_bits & 1:
            raise UnsupportedInput(
                "encrypted-zip", "The archive is encrypted.", "Unpack it yourself and give the folder."
            )
        if entry.file_size > max(SMALL_ZIP_ENTRY, MAX_ZIP_RATIO * entry.compress_size):
            raise TooLarge("zip-too-large", f"An entry unpacks to more than {MAX_ZIP_RATIO} times its size.")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_ZIP_BYTES:
        raise TooLarge("zip-too-large", f"The archive unpacks to more than {MAX_ZIP_BYTES >> 30} GiB.")
    if total + _RESERVED_BYTES > shutil.disk_usage(folder).free:
        raise TooLarge("no-space", "The temporary folder has no room for the unpacked archive.")


def _wanted(entry: zipfile.ZipInfo) -> bool:
    """Leave out what macOS and hidden files add; an empty slice stays, so that it is refused and not passed over."""
    parts = PurePosixPath(entry.filename).parts
    return "__MACOSX" not in parts and not parts[-1].startswith(".")


def _extract(opened: zipfile.ZipFile, entries: list[zipfile.ZipInfo], folder: Path) -> Unpacked:
    result = Unpacked()
    for number, entry in enumerate(entries):
        target = folder / f"{number:06d}{claimed(entry.filename)}"
        # zipfile stops at the declared size and checks the CRC, so a lying entry ends in BadZipFile.
        with opened.open(entry) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
        if is_zip(target):
            target.unlink()
            error = UnsupportedInput("nested-zip", "An archive inside the archive was left out.")
            result.refused.append(error)
        else:
            result.files.append(target)
    return result


def _damaged(archive: Path) -> UnreadableInput:
    return UnreadableInput("damaged-zip", "The archive is damaged.", "Copy or make it again.", archive)
