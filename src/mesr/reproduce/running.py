"""Trains and measures what a plan asks for, cheap rows first, and skips what is done. What is on disk is the state.

OUT/set, OUT/set-cbct    training sets (`prepare`, `simulated`)
OUT/runs/NAME/           a training: checkpoint, log, weights, and the digest of its settings
OUT/results.csv          every measurement (`results`)
OUT/plan.json            what became of each row (`state`)
OUT/.lock.sqlite         held by the one call that trains and measures here
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from .. import evaluate, locks
from ..device import Precision, resolve_device, use_bf16
from ..errors import InputError, InternalError, MesrError, UsageError, WeightsError
from ..evaluate import Reporter as SliceReporter
from ..files import atomic_path, check_file, made
from ..inference import Options
from ..losses import looking, vgg
from ..models import family, weights
from ..models.weights import ENSEMBLE
from ..prepare import prepare
from ..progress import Reporter as StepReporter
from ..results import Row as Result
from ..results import code_identity
from ..testset import EvaluationSpec
from ..train import train
from .logs import progress, slope
from .measured import Measured
from .plan import EXPERIMENTS, plan
from .rows import Row
from .simulated import simulate_set, simulated_as
from .sources import at_sites, limited
from .state import Fate, State, Trained, digest
from .trainings import Setting, Training, expense, samples_at, settings

SETTINGS = "settings.sha256"
"""In a training's folder: the digest of what it was begun with."""

LOG = "log.csv"

LOCK = ".lock.sqlite"
"""In the output folder: held by the call that trains and measures there."""

SIMULATED_SLICES = 12
"""A series at most, of the smallest budget: a scan takes seconds."""

Told = Callable[[str], None]


@dataclass
class Telling:
    """Who is told: of each row in a line, of each step of a training, of each slice measured."""

    line: Told = print
    step: StepReporter | None = None
    slices: SliceReporter | None = None


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
        self.setting, self.out, self.threads = setting, out.resolve(), threads
        self.options = Options(device=device, precision=precision)
        self.telling = telling or Telling()
        code_identity()  # Keeps it: what is committed during a long run is not what runs.
        self.state = self._read()

    def run(self, rows: Sequence[Row]) -> dict[str, Fate]:
        """Run what is not done, cheap first, and give every row's fate. A row that fails does not stop the others.

        Raises:
            KeyboardInterrupt: it was stopped; the same call goes on.
            UsageError: code `in-use`, another call runs into this folder.
        """
        with self._alone():
            fates = {row.id: self.state.fate(row) for row in rows}
            self.state.save()
            measured = Measured(self.out, self.state)
            for row in rows:  # Plans of before counted nothing.
                fate = fates[row.id]
                fate.measurements = fate.measurements or (measured.count(row) if fate.status == "done" else 0)
            known = list(
                (
                    {row.id: row for row in plan(EXPERIMENTS, self.setting)} | {row.id: row for row in rows}
                ).values()
            )
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

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """The folder for this call alone, and what is in it now: the plan is written whole."""
        check_file(self.out / LOCK, force=True)
        try:
            held = locks.take(made(self.out) / LOCK)
        except BlockingIOError:
            raise UsageError(
                "in-use", "Another call is writing into this output folder.",
                "Wait for it, or choose another folder.", self.out,
            ) from None  # fmt: skip
        with contextlib.closing(held):
            self.state = self._read()
            yield

    def _read(self) -> State:
        return State(self.out, self.setting.budget.name, self.setting.source.identity)

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
        due = (step for one in row.trainings for step in one.chain() if not self.has(step))
        if any(looking(step.config.losses) for step in due) and self._vgg_problem:
            raise self._vgg_problem
        paths = [[self._trained(one) for one in training.chain()][-1] for training in row.trainings]
        path = self._family(row, paths) if row.family else paths[0]
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
    def _vgg_problem(self) -> WeightsError | None:
        """Why the perceptual term cannot be had: found out once, and before what it would go on from is trained."""
        if sentence := vgg.to_fetch(self.setting.vgg):
            self.telling.line(sentence)
        try:
            vgg.load(self.setting.vgg)
        except WeightsError as error:
            return error
        return None

    @cached_property
    def spec(self) -> EvaluationSpec:
        """What is measured; a row with sites of its own is measured at those."""
        budget, source = self.setting.budget, self.setting.source
        return limited(source.val if budget.split == "val" else source.test, budget.slices)

    def folder(self, training: Training) -> Path:
        """Of a training's run."""
        return self.out / "runs" / training.name

    def path(self, training: Training) -> Path:
        """Of a training's weights."""
        return self.folder(training) / f"{training.name}.safetensors"

    def shows(self, row: Row) -> bool:
        """Whether a row is done and its network at hand: a folder of results alone has none to draw with."""
        return self.state.known(row).status == "done" and all(map(self.has, row.trainings))

    def has(self, one: Training) -> bool:
        """Whether a training has ended, with these very settings, and its weights are at hand."""
        return self.state.trained(one) is not None and self.path(one).is_file()

    def adopt(self, one: Training, found: Path, computed: str) -> None:
        """Make a training's own what another machine made of its settings.

        Args:
            found: a folder with its weights and log.csv.
            computed: in what arithmetic and where.

        Raises:
            InputError: code `not-adopted`, it started from other weights than those here; or its log holds no
                validation.
            UsageError: code `in-use`, as `run`.
            WeightsError: its weights cannot be read.
        """
        _, card = weights.load(found / self.path(one).name)
        start = card.about["training"]["start"] or {}
        known = self.state.trained(one.after) if one.after else None
        if one.after is not None and (known is None or start.get("weights_id") != known.weights_id):
            raise InputError(
                "not-adopted", f"It started from other weights than those of {one.after.name} here."
            )
        progress(found / LOG)
        with self._alone():
            self._claim(one)
            for name in (LOG, self.path(one).name):
                with atomic_path(self.folder(one) / name, force=True) as temporary:
                    shutil.copyfile(found / name, temporary)
            self.state.trainings[one.name] = self._account(one, computed)
            self.state.save()

    def _trained(self, one: Training) -> Path:
        """Train, or go on, or find it done."""
        path = self.path(one)
        if self.has(one):
            return path
        config = replace(
            one.config,
            set=str(self.training_set(one)),
            out=str(self.folder(one)),
            start=str(self.path(one.after)) if one.after else None,
            device=self.options.device,
            precision=self.options.precision,
            threads=self.threads,
        )
        self._claim(one)
        train(config, self.telling.step or _silent)
        self.state.trainings[one.name] = self._account(one, self._computed())
        self.state.save()
        return path

    def _claim(self, one: Training) -> None:
        """Make the training's folder its own: one that another training of its name left is set aside."""
        folder, own = self.folder(one), digest(settings(one))
        mark = folder / SETTINGS
        held = mark.read_text(encoding="utf-8").strip() if mark.is_file() else own
        if held != own:
            aside = folder.with_name(f"{folder.name}-{held[:8]}")
            self.telling.line(
                f"{folder.name} has other settings now; its old run is set aside in {aside.name}."
            )
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(f"{own}\n", encoding="utf-8")

    def _account(self, one: Training, computed: str) -> Trained:
        _, card = weights.load(self.path(one))
        known = self.state.trained(one.after) if one.after else None
        return Trained(
            fingerprint=digest(settings(one)),
            weights_id=card.weights_id,
            steps=one.config.steps + (known.steps if known else 0),
            samples=one.samples,
            samples_at=samples_at(one),
            minutes=card.about["training"]["minutes"] + (known.minutes if known else 0.0),
            course=progress(self.folder(one) / LOG),
            losses=dict(one.config.losses),
            slope=slope(self.folder(one) / LOG),
            computed=computed,
        )

    def _computed(self) -> str:
        """In what a training computes, and where."""
        device = resolve_device(self.options.device)
        place = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return f"{'bfloat16' if use_bf16(self.options.precision, device) else 'float32'}, {place}"

    def training_set(self, one: Training) -> Path:
        """The prepared set a training learns from; made where it is missing."""
        prepared = self.out / "set"
        source = self.setting.source
        if not (prepared / "manifest.json").is_file():
            self.telling.line(f"Preparing {len(source.training.scans)} scans.")
            prepare(source.training, source.root, prepared)
        if not one.simulated:
            return prepared
        paired = self.out / "set-cbct"
        if simulated_as(paired) != one.simulated:
            self.telling.line("Simulating cone-beam scans of the training set.")
            count = SIMULATED_SLICES if self.setting.budget.tiny else 0
            sampling = one.config.sampling
            simulate_set(
                prepared, paired, one.simulated, sites=sampling.sites, series=sampling.series, count=count,
                on_slice=self._scanned,
            )  # fmt: skip
        return paired

    def _scanned(self, done: int, count: int) -> None:
        if done * 10 // count > (done - 1) * 10 // count:
            self.telling.line(f"  {done} of {count} slices scanned")

    def _family(self, row: Row, paths: Sequence[Path]) -> Path:
        """The members as one weights file."""
        loaded = [weights.load(path) for path in paths]
        scales = (int(one.config.sampling.scales[0]) for one in row.trainings)
        spec, model = family.join(
            [
                family.at_one_scale(card.spec, one, scale)
                for (one, card), scale in zip(loaded, scales, strict=True)
            ]
        )
        path = self.out / "runs" / row.method / f"{row.method}.safetensors"
        about = loaded[0][1].about
        weights.save(path, row.method, spec, model.state_dict(), about, force=True)
        return path


def _silent(_: object) -> None:
    """A reporter that reports nothing."""
