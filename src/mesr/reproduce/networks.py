"""The networks of a reproduction: trained, gone on with, or found on disk.

OUT/set, OUT/set-cbct    training sets (`prepare`, `simulated`)
OUT/runs/NAME/           a training: checkpoint, log, weights, and the digest of its settings
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from ..device import resolve_device, use_bf16
from ..errors import InputError, WeightsError
from ..files import atomic_path
from ..inference import Options
from ..losses import looking, vgg
from ..models import family, weights
from ..prepare import prepare
from ..train import train
from .logs import progress, slope
from .simulated import is_simulated, simulate_set
from .state import State, Trained, digest
from .telling import Telling
from .trainings import Setting, Training, samples_at, settings

SETTINGS = "settings.sha256"
"""In a training's folder: the digest of what it was begun with."""

LOG = "log.csv"

SIMULATED_SLICES = 12
"""A series at most, of the smallest budget: a scan takes seconds."""


class Networks:
    """Every training's weights in a folder.

    Args:
        setting: scans and VGG to train with.
        state: of the folder; what a training turned out to be is kept there.
        options: device and precision to train on.
        threads: of the CPU; 0 leaves it to PyTorch.
    """

    def __init__(
        self, setting: Setting, state: State, options: Options, *, threads: int, telling: Telling
    ) -> None:
        self.setting, self.state, self.options = setting, state, options
        self.threads, self.telling = threads, telling

    def folder(self, training: Training) -> Path:
        """Of a training's run."""
        return self.state.folder / "runs" / training.name

    def path(self, training: Training) -> Path:
        """Of a training's weights."""
        return self.folder(training) / f"{training.name}.safetensors"

    def has(self, one: Training) -> bool:
        """Whether a training has ended, with these very settings, and its weights are at hand."""
        return self.state.trained(one) is not None and self.path(one).is_file()

    def of(self, trainings: Sequence[Training]) -> list[Path]:
        """The weights of each, trained where they are missing, and before each what it starts from.

        Raises:
            WeightsError: one of them needs a VGG, which cannot be had. Nothing has been trained then.
        """
        due = (step for one in trainings for step in one.chain() if not self.has(step))
        if any(looking(step.config.losses) for step in due) and self._vgg_problem:
            raise self._vgg_problem
        return [[self._trained(step) for step in one.chain()][-1] for one in trainings]

    def joined(self, name: str, trainings: Sequence[Training]) -> Path:
        """One weights file of that name, with a network for each scale, of trainings at a scale each; as `of`."""
        loaded = [weights.load(path) for path in self.of(trainings)]
        scales = (int(one.config.sampling.scales[0]) for one in trainings)
        spec, model = family.join(
            [
                family.at_one_scale(card.spec, one, scale)
                for (one, card), scale in zip(loaded, scales, strict=True)
            ]
        )
        path = self.state.folder / "runs" / name / f"{name}.safetensors"
        weights.save(path, name, spec, model.state_dict(), loaded[0][1].about, force=True)
        return path

    def adopt(self, one: Training, found: Path, computed: str) -> None:
        """Make a training's own what another machine made of its settings.

        Args:
            found: a folder with its weights and log.csv.
            computed: in what arithmetic and where.

        Raises:
            InputError: code `not-adopted`, it started from other weights than those here; or its log holds no
                validation.
            UsageError: code `in-use`, as `State.alone`.
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
        with self.state.alone():
            self._claim(one)
            for name in (LOG, self.path(one).name):
                with atomic_path(self.folder(one) / name, force=True) as temporary:
                    shutil.copyfile(found / name, temporary)
            self._keep(one, computed)

    def training_set(self, one: Training) -> Path:
        """The prepared set a training learns from; made where it is missing."""
        prepared = self.state.folder / "set"
        source = self.setting.source
        if not (prepared / "manifest.json").is_file():
            self.telling.line(f"Preparing {len(source.training.scans)} scans.")
            prepare(source.training, source.root, prepared)
        if not one.simulated:
            return prepared
        paired = self.state.folder / "set-cbct"
        count = SIMULATED_SLICES if self.setting.budget.tiny else 0
        asked = {"sites": one.config.sampling.sites, "series": one.config.sampling.series}
        if not is_simulated(paired, one.simulated, **asked, count=count):
            self.telling.line("Simulating cone-beam scans of the training set.")
            simulate_set(prepared, paired, one.simulated, **asked, count=count, on_slice=self._scanned)
        return paired

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
        self._keep(one, self._computed())
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

    def _keep(self, one: Training, computed: str) -> None:
        """Write down what a training turned out to be, from its weights and its log."""
        _, card = weights.load(self.path(one))
        known = self.state.trained(one.after) if one.after else None
        self.state.trainings[one.name] = Trained(
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
        if looking(one.config.losses):
            self.state.vgg = self.setting.vgg
        self.state.save()

    def _computed(self) -> str:
        """In what a training computes, and where."""
        device = resolve_device(self.options.device)
        place = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return f"{'bfloat16' if use_bf16(self.options.precision, device) else 'float32'}, {place}"

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

    def _scanned(self, done: int, count: int) -> None:
        if done * 10 // count > (done - 1) * 10 // count:
            self.telling.line(f"  {done} of {count} slices scanned")


def _silent(_: object) -> None:
    """A reporter that reports nothing."""
