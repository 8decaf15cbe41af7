"""What every command prints with, and how an error becomes a sentence and an exit status."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer
from rich.console import Console

from ..errors import InternalError, MesrError
from ..files import plain_text

if TYPE_CHECKING:
    from ..volume import Note

INTERRUPTED = 130
"""The shell's status of a program stopped by Ctrl-C."""
PATH_SHOWN = 400

out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=True)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def debugging() -> bool:
    """Whether tracebacks, which may hold patient data, are wanted."""
    return os.environ.get("MESR_DEBUG", "") not in ("", "0")


def door(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A command whose errors are shown as a sentence and end it with their exit status."""

    @functools.wraps(command)
    def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except MesrError as error:
            show(error)
            raise typer.Exit(exit_status(error)) from None
        except KeyboardInterrupt as stop:
            err.print("Interrupted. What was finished is whole; nothing partial was left.")
            raise typer.Exit(exit_status(stop)) from None
        except (typer.Exit, typer.BadParameter, BrokenPipeError):
            raise
        except Exception as bug:
            show(InternalError(bug))
            raise typer.Exit(exit_status(bug)) from None

    return guarded


def exit_status(end: BaseException) -> int:
    """What the program ends with when `end` leaves a command."""
    match end:
        case MesrError() | typer.Exit():
            return end.exit_code
        case KeyboardInterrupt():
            return INTERRUPTED
        case SystemExit(code=int(status)):
            return status
    return InternalError.exit_code


def duration(seconds: float) -> str:
    """Seconds, minutes, or hours and minutes, rounded to what an estimate is worth."""
    if seconds < 90:
        return f"{round(seconds / 10) * 10} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60 // 10 * 10} min"


def show(error: MesrError, about: str = "") -> None:
    """An error on stderr: what it is about, its sentence, its fix and its path."""
    place = f" [{shown(error.path)}]" if error.path is not None else ""
    subject = f"{about}: " if about else ""
    err.print(f"error: {subject}{error}{place}")
    if debugging() and (cause := error.__cause__) is not None:
        err.print("".join(traceback.format_exception(cause)))


def tell(notes: Iterable[Note], indent: str = "  ") -> None:
    """Notes on stdout, each once."""
    for note in dict.fromkeys(notes):
        out.print(f"{indent}note: {note.text} ({note.code})")


def shown(path: Path) -> str:
    """A path without what could steer a terminal."""
    return plain_text(path, PATH_SHOWN)


def numbers(values: Iterable[float], digits: int = 4) -> str:
    """`0.431 × 0.431`, with so many significant digits."""
    return " × ".join(f"{value:.{digits}g}" for value in values)
