"""Every error a user can meet, with what was expected, what was found and what to do.

A door (the command line, a page, a node) catches `MesrError` and shows its sentence and fix; any other
exception is a bug of ours. The path is kept apart because only the command line may print it.

    MesrError
    ├── UsageError         what was asked for makes no sense            exit 2
    ├── InputError         the input cannot be used                     exit 3 (4 when others succeeded)
    │   ├── UnreadableInput    not a file of the kind it claims, truncated, damaged
    │   ├── UnsupportedInput   sound, but of a kind that is not handled
    │   ├── GeometryInput      positions, spacing or orientation missing or contradictory
    │   └── TooLarge           beyond a limit of `limits.py`
    ├── OutputError        the result cannot be written there           exit 3 (4)
    ├── WeightsError       a weights file is missing, damaged or of another format   exit 2
    ├── MissingExtra       an optional package is not installed         exit 2
    ├── OutOfMemory        the smallest part of a slice does not fit    exit 3 (4)
    └── InternalError      a bug of ours                                exit 1
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import ClassVar


class MesrError(Exception):
    """An expected failure.

    Args:
        code: stable identifier, lower case with dashes (`"not-dicom"`); part of the report's contract.
        sentence: what was expected and what was found, in one plain sentence without patient data or paths.
        fix: what the user can do about it; may be empty.
        path: the file or folder concerned; shown by the command line only.
    """

    exit_code: ClassVar[int] = 3
    """What the command line ends with when this is all that came of it."""

    def __init__(self, code: str, sentence: str, fix: str = "", path: str | Path | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.fix = fix
        self.path = Path(path) if path is not None else None

    def __str__(self) -> str:
        return f"{self.sentence} {self.fix}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.code, self.sentence, self.fix, self.path))


def bare(error: MesrError) -> MesrError:
    """An error that is kept: the frames of its traceback would keep volumes, and with them their files.

    Of a bug, its lines stay as a note.
    """
    bug = error.__cause__
    while bug is not None:
        if bug.__traceback__ is not None:
            lines = "".join(traceback.format_tb(bug.__traceback__)).rstrip()
            bug.add_note(f"Traceback (most recent call last):\n{lines}")
        bug.__traceback__ = None
        bug = bug.__cause__ or bug.__context__
    error.__context__ = None
    return error.with_traceback(None)


class UsageError(MesrError):
    """What was asked for makes no sense: a scale of zero, an unknown option value."""

    exit_code = 2


class InputError(MesrError):
    """The input cannot be used."""


class UnreadableInput(InputError):
    """Not a file of the kind it claims to be, truncated or damaged."""


class UnsupportedInput(InputError):
    """A sound file of a kind that is not handled: colour, segmentation, complex values."""


class GeometryInput(InputError):
    """Positions, spacing or orientation are missing, contradictory or uneven."""


class TooLarge(InputError):
    """Beyond a limit of `limits.py`."""


class OutputError(MesrError):
    """The result cannot be written there."""


class WeightsError(MesrError):
    """A weights file is missing, damaged or of another format."""

    exit_code = 2


class MissingExtra(MesrError):
    """An optional package is not installed."""

    exit_code = 2

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            "missing-extra",
            f"{purpose} needs the package {package}, which is not installed.",
            f"Install it with: pip install 'mesr[{extra}]'",
        )
        self._arguments = (package, extra, purpose)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), self._arguments)


class OutOfMemory(MesrError):
    """Not even the smallest part of a slice fits the memory."""

    def __init__(self) -> None:
        super().__init__("memory", "There was not enough memory.", "Close other programs, or ask for less.")

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), ())


class InternalError(MesrError):
    """An exception nobody expected. Its text may hold patient data and is kept in `__cause__` only."""

    exit_code = 1

    def __init__(self, bug: BaseException) -> None:
        super().__init__(
            "internal",
            f"An unexpected {type(bug).__name__} stopped the work; this is a bug of mesr.",
            "Set MESR_DEBUG=1 to see where, and please report it; the traceback may hold patient data.",
        )
        self.__cause__ = bug

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.__cause__,))
