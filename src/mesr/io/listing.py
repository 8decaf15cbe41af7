"""A file that lists inputs, for more studies than a command line holds or than lie in one folder."""

from __future__ import annotations

from pathlib import Path

from ..errors import TooLarge, UnreadableInput
from ..limits import MAX_LIST_BYTES


def listed(file: Path) -> list[Path]:
    """The inputs that a list names, one a line, relative to the list; empty lines and those that begin with # left out.

    Raises:
        UnreadableInput: codes `not-found`, `unreadable`, `empty-list`.
        TooLarge: code `list-too-large`.
    """
    try:
        if file.stat().st_size > MAX_LIST_BYTES:
            raise TooLarge("list-too-large", "The list is longer than a list of inputs could be.", path=file)
        lines = file.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        raise UnreadableInput("not-found", "There is no such list.", path=file) from None
    except OSError:
        raise UnreadableInput("unreadable", "The list cannot be read.", path=file) from None
    named = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not named or any("\0" in line for line in named):
        raise UnreadableInput(
            "empty-list", "The list names no input.", "Write one file, folder or zip a line.", file
        )
    return [file.parent / line for line in named]
