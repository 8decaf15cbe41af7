"""What a training run tells: a reporter's lines, `log.csv`, TensorBoard where it is installed."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """What a reporter is told after every step."""

    step: int
    steps: int
    loss: float
    seconds_left: float
    scores: Mapping[str, float] | None = None


Reporter = Callable[[Progress], None]


class Logs:
    """`log.csv` always, TensorBoard where it is installed; a resumed run drops the lines it repeats.

    Args:
        out: the run's folder.
        step: the last one that is done.
        steps: in all.
    """

    def __init__(self, out: Path, step: int, steps: int) -> None:
        self.steps = steps
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / "log.csv"
        kept: list[list[str]] = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                kept = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= step]
        self.file = self.path.open("w", newline="")
        self.rows = csv.writer(self.file)
        self.rows.writerow(["step", "quantity", "value"])
        self.rows.writerows(kept)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            # It drops this step too.
            self.board = SummaryWriter(out / "tensorboard", purge_step=step + 1)
        self._recent: dict[str, list[float]] = {}

    def write(
        self, step: int, values: Mapping[str, float], rate: float, scores: Mapping[str, float] | None
    ) -> None:
        """Note a step: scores as they come; with them, every hundred steps and at the last, the rate and means of
        `values` over the steps since the line before.
        """
        for key, value in values.items():
            self._recent.setdefault(key, []).append(value)
        quantities: dict[str, float] = {}
        if self._recent and (step % 100 == 0 or step == self.steps or scores is not None):
            quantities = {key: sum(recent) / len(recent) for key, recent in self._recent.items()}
            quantities["rate"] = rate
            self._recent.clear()
        quantities |= {f"psnr {key}": value for key, value in (scores or {}).items()}
        for key, value in quantities.items():
            self.rows.writerow([step, key, f"{value:.6g}"])
            if self.board is not None:
                self.board.add_scalar(key, value, step)
        if quantities:
            self.file.flush()


class Clock:
    """Time left and time since the last checkpoint."""

    def __init__(self, step: int, steps: int) -> None:
        self.first, self.steps, self.started = step, steps, time.monotonic()
        self.saved = self.started

    def left(self, step: int) -> float:
        done = max(1, step - self.first)
        return (time.monotonic() - self.started) / done * (self.steps - step)

    def minutes_since_checkpoint(self) -> float:
        return (time.monotonic() - self.saved) / 60

    def checkpointed(self) -> None:
        self.saved = time.monotonic()


def plain_lines(every: int = 100) -> Reporter:
    """A reporter for logs and pipes: a line every so many steps, at each validation and at the last step."""

    def report(progress: Progress) -> None:
        if progress.scores is not None:
            shown = ", ".join(f"{key} {value:.2f}" for key, value in progress.scores.items())
            print(f"step {progress.step}: PSNR {shown}", flush=True)
        elif progress.step % every == 0 or progress.step == progress.steps:
            left = progress.seconds_left / 60
            print(
                f"step {progress.step} of {progress.steps}, loss {progress.loss:.5f}, {left:.0f} min left",
                flush=True,
            )

    return report
