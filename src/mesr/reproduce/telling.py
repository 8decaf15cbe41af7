"""Who is told what a reproduction is doing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..evaluate import Reporter as SliceReporter
from ..progress import Reporter as StepReporter


@dataclass
class Telling:
    """Who is told: of each row in a line, of each step of a training, of each slice measured."""

    line: Callable[[str], None] = print
    step: StepReporter | None = None
    slices: SliceReporter | None = None
