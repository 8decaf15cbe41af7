"""Trains and measures what a plan asks for, cheap rows first, and skips what is done. What is on disk is the state.

OUT/set, OUT/runs        training sets and trained networks (`networks`)
OUT/results.csv          every measurement (`results`)
OUT/plan.json            what became of each row (`state`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from .. import evaluate
from ..device import Precision
from ..errors import InternalError, MesrError, UsageError
from ..inference import Options
from ..models.weights import ENSEMBLE
from ..results import Row as Result
from ..results import code_identity
from ..testset import EvaluationSpec
from .measured import Measured
from .networks import Networks
from .plan import EXPERIMENTS, plan
from .rows import Row
from .sources import at_sites, limited
from .state import Fate, State
from .telling import Telling
from .trainings import Setting, expense


class Runner:
    """Runs rows into one folder.

    Args:
        setting: budget, scans and VGG of the plan.
        out: the folder.
        device, precision: as in a training's settings; of what is measured as well.
        threads: of the CPU; 0 leaves it to PyTorch.
    """

    def __init__(
        self, setting: Setting, out: Path, *, device: str = "auto", precision: Precision = "auto", threads: int = 0,
        telling: Telling | None = None,
    ) -> None:  # fmt: skip
        self.setting, self.out = setting, out.resolve()
        self.options = Options(device=device, precision=precision)
        self.telling = telling or Telling()
        code_identity()  # Keeps it: what is committed during a long run is not what runs.
        self.state = State(self.out, setting.budget.name, setting.source.identity)
        self.networks = Networks(setting, self.state, self.options, threads=threads, telling=self.telling)

    def run(self, rows: Sequence[Row]) -> dict[str, Fate]:
        """Run what is not done, cheap first, and give every row's fate. A row that fails does not stop the others.

        Raises:
            KeyboardInterrupt: it was stopped; the same call goes on.
            UsageError: code `in-use`, another call runs into this folder.
        """
        with self.state.alone():
            fates = {row.id: self.state.fate(row) for row in rows}
            self.state.save()
            measured = Measured(self.out, self.state)
            for row in rows:  # Plans of before counted nothing.
                fate = fates[row.id]
                fate.measurements = fate.measurements or (measured.count(row) if fate.status == "done" else 0)
            known = {row.id: row for row in (*plan(EXPERIMENTS, self.setting), *rows)}.values()
            whole = [row for row in known if measured.whole(row)]
            due = [row for row in rows if fates[row.id].status != "absent" and not measured.whole(row)]
            self._settle_each([row for row in due if not self._settled_by(row, whole, measured)])
            stale = [row for row in known if self.state.known(row).status == "done" and self._outdated(row)]
            self._settle_each(stale, keeping=True)
        return fates

    def _settle_each(self, due: Sequence[Row], *, keeping: bool = False) -> None:
        """Cheap ones first. `keeping` leaves what was found before where a row fails."""
        for number, row in enumerate(sorted(due, key=lambda row: expense(*row.trainings)), 1):
            self.telling.line(f"[{number} of {len(due)}] {row.id}")
            before = replace(self.state.fate(row))
            self._settle(row, self.state.fate(row))
            if keeping and self.state.fate(row).status == "failed":
                self.state.rows[row.id] = before
            self.state.save()

    def _settled_by(self, row: Row, whole: Sequence[Row], measured: Measured) -> bool:
        """Whether a finished row has all that is to be measured, which is then this row's too: it may have outlived its network."""
        for other in whole:
            if not row.within(other):
                continue
            fate, held = self.state.fate(row), self.state.known(other)
            fate.weights_id, fate.commit, fate.precision = held.weights_id, held.commit, held.precision
            if not (count := measured.count(row)):
                continue
            fate.status, fate.code, fate.sentence, fate.measurements = "done", "", "", count
            self.telling.line(f"{row.id}: as measured for {other.id}")
            self.state.save()
            return True
        return False

    def _outdated(self, row: Row) -> bool:
        """Whether a finished row's network has been trained anew since: others of its table then tell of the new one.

        A family's members are not asked, nor what was fine-tuned from it.
        """
        known = self.state.trained(row.trainings[0]) if len(row.trainings) == 1 and not row.family else None
        now = known and known.weights_id + (ENSEMBLE if row.averaged else "")
        return now is not None and now != self.state.known(row).weights_id

    def _settle(self, row: Row, fate: Fate) -> None:
        problem: MesrError | None = None
        try:
            found = self._measure(row, self._model(row))
            fate.weights_id, fate.commit, fate.precision = (
                found[0].weights_id,
                found[0].commit,
                found[0].precision,
            )
            fate.measurements = len({one.key for one in found})
        except MesrError as error:
            problem = error
        except Exception as bug:  # Its text may hold patient data: only its kind is kept.
            problem = InternalError(bug)
        fate.status = "failed" if problem else "done"
        fate.code, fate.sentence = (problem.code, problem.sentence) if problem else ("", "")
        if fate.status == "failed":
            self.telling.line(f"failed: {fate.sentence} ({fate.code})")

    def _model(self, row: Row) -> str | Path:
        """What `evaluate` is given: a name or a weights file, with what asks it in eight orientations behind it."""
        if not row.trainings:
            return row.system
        if row.family:
            path = self.networks.joined(row.method, row.trainings)
        else:
            (path,) = self.networks.of(row.trainings)
        return f"{path}{ENSEMBLE}" if row.averaged else path

    def _measure(self, row: Row, model: str | Path) -> list[Result]:
        """The row's measurements, which are in results.csv."""
        parts = [(row.sites, row.scales)]
        if row.thorough:
            parts = [(row.thorough, row.scales), (row.sites, tuple(s for s in row.scales if s == "2"))]
        found = [
            one
            for sites, scales in parts
            if scales
            for one in evaluate.run(
                [model],
                at_sites(self.spec, sites),
                self.out,
                scales=scales,
                degradation=row.degradation,
                options=self.options,
                command=f"mesr reproduce --budget {self.setting.budget.name}: {row.id}",
                on_slice=self.telling.slices,
            )
        ]
        if not found:
            raise UsageError("nothing-to-measure", "The method is defined for none of the scales asked for.")
        return found

    @cached_property
    def spec(self) -> EvaluationSpec:
        """What is measured; a row with sites of its own is measured at those."""
        budget, source = self.setting.budget, self.setting.source
        return limited(source.val if budget.split == "val" else source.test, budget.slices)

    def done(self, row: Row) -> bool:
        """Whether a row is settled, by this call or an earlier one."""
        return self.state.known(row).status == "done"

    def shows(self, row: Row) -> bool:
        """Whether a row is done and its network at hand: a folder of results alone has none to draw with."""
        return self.done(row) and all(map(self.networks.has, row.trainings))
