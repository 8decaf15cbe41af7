"""Writing that leaves nothing half done: temporary name, fsync, rename; never over something else.

Also the cleaning of names and texts that came from a file, and the counting of things in a sentence.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .errors import OutputError
from .limits import MAX_TEXT


def check_target(path: Path, *, force: bool = False) -> None:
    """Refuse a target that exists (unless `force`) or whose parent cannot be made or written.

    Raises:
        OutputError: code `exists` or `unwritable`.
    """
    with unwritable(path):
        if path.exists() and not force and not (path.is_dir() and not any(path.iterdir())):
            raise OutputError(
                "exists",
                "The output exists already.",
                "Choose another name, or replace it: --force, in Python force=True.",
                path,
            )
        # Whether the file system takes the longer name that it has until it is whole.
        with contextlib.suppress(FileNotFoundError):
            os.lstat(_beside(path))
        parent = path.absolute().parent
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise OutputError(
                "unwritable", "The output folder cannot be written.", "Choose another folder.", path
            )


def check_file(path: Path, *, force: bool = False) -> None:
    """`check_target` for a file, which replaces no folder, `force` or not.

    Raises:
        OutputError: code `exists` or `unwritable`.
    """
    with unwritable(path):
        if path.is_dir():
            raise OutputError(
                "unwritable", "A file was to be written, found a folder there.", "Choose another name.", path
            )
    check_target(path, force=force)


def check_replaceable(
    folder: Path,
    inputs: Iterable[Path],
    earlier: Callable[[Path], bool],
    otherwise: str,
    fix: str = "Choose another folder.",
    *,
    force: bool = False,
) -> None:
    """Refuse a folder that must not be replaced whole, as `atomic_folder` does it. An empty one passes.

    Args:
        folder: the output.
        inputs: files and folders the result is made from.
        earlier: whether a folder holds an earlier result and nothing else.
        otherwise: the sentence where it does not.
        fix: what the user can then do.
        force: replace an earlier result.

    Raises:
        OutputError: codes `exists`, `unwritable`, `output-is-input`, `other-files`.
    """
    check_target(folder, force=force)
    if not folder.exists():
        return
    place = folder.resolve()
    if any(place == one or place in one.parents for one in map(Path.resolve, inputs)):
        raise OutputError(
            "output-is-input", "The output folder is or holds an input.", "Choose another folder.", folder
        )
    if not folder.is_dir() or (any(folder.iterdir()) and not earlier(folder)):
        raise OutputError("other-files", otherwise, fix, folder)


@contextlib.contextmanager
def atomic_path(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary file beside `path`, renamed onto it when the block ends well, removed when it does not.

    The temporary name keeps the suffixes, so that libraries which choose a format by suffix work.
    """
    check_file(path, force=force)
    with unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with unwritable(path):
            yield temporary
            sync(temporary)
            if not force and path.exists():
                check_target(path)
            temporary.replace(path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary folder beside `path`, renamed onto it when the block ends well, removed when it does not.

    With `force` an existing folder is moved aside first and removed last, so that one of the two is
    always whole.
    """
    check_target(path, force=force)
    with unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    aside = path.with_name(f".{secrets.token_hex(6)}.old.{path.name}")
    try:
        with unwritable(path):
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                sync(file)
            sync(temporary)
            if path.exists():
                check_target(path, force=force)
                path.replace(aside)
            temporary.replace(path)
            sync(path.parent)
    except BaseException:
        if aside.exists() and not path.exists():
            aside.replace(path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)


def made(folder: Path) -> Path:
    """A folder to write into, made where it is missing.

    Raises:
        OutputError: code `unwritable`.
    """
    with unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """What the system refuses in the block, as `OutputError` with the code `unwritable`."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "unknown reason"
        raise OutputError(
            "unwritable", f"The output could not be written: {reason}.", "Choose another folder.", path
        ) from error


def sweep(path: Path) -> None:
    """Remove what killed writers left half done beside `path`; nobody may be writing it."""
    ours = re.compile(rf"\.[0-9a-f]{{12}}\.(old\.)?{re.escape(path.name)}")
    with unwritable(path):
        left = [one for one in path.parent.glob(".*") if ours.fullmatch(one.name)]
        for one in left:
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one, ignore_errors=True)
            else:
                one.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A hidden name beside `path` that nothing has."""
    return path.with_name(f".{secrets.token_hex(6)}.{path.name}")


def sync(path: Path) -> None:
    """Flush one file, or a folder's list of names, to the disk.

    Raises:
        OSError: it cannot be.
    """
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def counted(count: int, one: str, many: str) -> str:
    """`1 slice is` or `2 slices are`."""
    return f"{count} {one if count == 1 else many}"


def plain_text(text: object, limit: int = MAX_TEXT) -> str:
    """`text` on one line, without control or direction characters, clipped to `limit` characters."""
    kept = (c if unicodedata.category(c)[0] not in "CZ" or c == " " else " " for c in str(text)[: 4 * limit])
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def safe_name(text: str, limit: int = 40) -> str:
    """A file name part made of letters, digits, dot, dash and underscore only; never empty, `.` or `..`."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text[: 4 * limit])
    kept = "-".join(part for part in kept.split("-") if part).strip(".")[:limit]
    return kept or "unnamed"
