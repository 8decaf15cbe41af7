"""The state of a training run, saved so that a run killed at any moment goes on exactly.

Tensors in a safetensors file, the rest in its header; no pickle. Also: beginning with trained weights, and deepening
their network.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from . import config as configuration
from .errors import OutputError, UsageError, WeightsError
from .files import check_target
from .losses import Adversary
from .models import weights as weights_files
from .models.contract import SuperResolver
from .models.stems import DifferenceConv
from .models.weights import Card
from .provenance import Origin, origin_of
from .recipe import TrainConfig
from .tensors import write_tensors

CHECKPOINT = "checkpoint.safetensors"


class Run:
    """The state of a training: what the checkpoint holds.

    Args:
        adversary: where a critic is trained beside it.
        origin: of the weights it starts from.
        learnt: which slices it learns from (`provenance.learnt`); empty where that is not known.
    """

    def __init__(
        self,
        model: SuperResolver,
        optimiser: torch.optim.Optimizer,
        out: Path,
        config: TrainConfig,
        adversary: Adversary | None = None,
        origin: Origin | None = None,
        learnt: str = "",
    ) -> None:
        self.model, self.optimiser, self.out, self.config = model, optimiser, out, config
        self.adversary, self.origin, self.learnt = adversary, origin, learnt
        self.step = 0
        self.seconds = 0.0
        self.average = {key: value.detach().clone() for key, value in model.state_dict().items()}
        self._since = time.monotonic()

    def advance(self) -> None:
        """Count a step and let the average follow, quickly at first (`min(ema, (1 + t) / (10 + t))`)."""
        self.step += 1
        decay = min(self.config.optimiser.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for key, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.average[key].lerp_(value, 1 - decay)
                else:  # A count, such as batch norm's of batches, has no average.
                    self.average[key].copy_(value)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with its averaged weights, for judging and saving."""
        kept = {key: value.clone() for key, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        self.model.eval()
        try:
            yield
        finally:
            self.model.load_state_dict(kept)
            self.model.train()

    @property
    def checkpoint(self) -> Path:
        return self.out / CHECKPOINT

    @property
    def weights(self) -> Path:
        """The weights file that the run ends in."""
        return self.out / f"{self.config.name}.safetensors"

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        tensors |= _steps_so_far("optimiser.", self.optimiser, self.model)
        if self.adversary is not None:
            critic = self.adversary.critic
            tensors |= {f"critic.{k}": v for k, v in critic.state_dict().items()}
            tensors |= _steps_so_far("critic-optimiser.", self.adversary.optimiser, critic)
        header = {
            "step": self.step, "seconds": self.seconds, "config": self._fixed(self.step), "origin": self.origin,
            "set": self.learnt,
        }  # fmt: skip
        stored = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write_tensors(self.checkpoint, stored, {"run": json.dumps(header, sort_keys=True)}, force=True)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one.

        Raises:
            UsageError: code `other-run`, it cannot be read, or is of another configuration or training set.
        """
        self._since = time.monotonic()
        header = _header(self.out)
        if header is None:
            return
        fixed = self._fixed(header["step"])
        before = _completed(header["config"], fixed)
        if before != fixed:
            changed = [k for k in fixed | before if before.get(k) != fixed.get(k)]
            raise UsageError(
                "other-run",
                f"The run's folder holds a checkpoint of another configuration ({', '.join(changed)} differ).",
                "Choose another out=FOLDER, or remove the old run.",
                self.out,
            )
        if header.get("set", self.learnt) != self.learnt:
            raise UsageError(
                "other-run",
                "The run's folder holds a checkpoint of another training set.",
                "Choose another out=FOLDER, or the set it began with.",
                self.out,
            )
        with safe_open(self.checkpoint, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.step, self.seconds = header["step"], header["seconds"]
        self.model.load_state_dict(_under(tensors, "model."))
        self.average = {k: v.to(self.average[k]) for k, v in _under(tensors, "average.").items()}
        _go_on(tensors, "optimiser.", self.optimiser, self.model)
        if self.adversary is not None:
            self.adversary.critic.load_state_dict(_under(tensors, "critic."))
            _go_on(tensors, "critic-optimiser.", self.adversary.optimiser, self.adversary.critic)

    def _fixed(self, step: int) -> dict[str, Any]:
        """The settings that must not change between a checkpoint at `step` and its continuation."""
        settings = dataclasses.asdict(self.config)
        for free in ("out", "set", "checkpoint_minutes", "threads", "device", "validation", "name"):
            settings.pop(free)
        schedule, fall = self.config.optimiser.schedule, self.config.optimiser.fall
        if schedule == "constant" or (schedule == "linear" and step <= self.config.steps * (1.0 - fall)):
            settings.pop("steps")  # No rate so far has depended on it: a run may be made longer or shorter.
        return settings


def made_folder(out: str) -> Path:
    """The folder of a run, made where it is missing.

    Raises:
        OutputError: code `unwritable`.
    """
    folder = Path(out).expanduser()
    try:
        check_target(folder / CHECKPOINT, force=True)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, OutputError):
        raise OutputError(
            "unwritable", "The run's folder cannot be made or written.", "Choose another out=FOLDER.", folder
        ) from None
    return folder


def begin(model: SuperResolver, start: str | None, out: Path) -> Origin | None:
    """Let a network begin with trained weights, and say of which they are.

    A run that goes on has both in its checkpoint, so that the file it started from may have gone by then.

    Args:
        start: name or file of the weights; None to begin from nothing.
        out: the run's folder.

    Raises:
        UsageError: code `other-run`, the checkpoint there cannot be read.
        WeightsError: the weights cannot be had or do not fit.
    """
    if start is None:
        return None
    origin: Origin | None = (_header(out) or {}).get("origin")
    if origin is None:
        donor = weights_files.load(Path(start).expanduser())
        grow(model, donor)
        origin = origin_of(donor[1])
    return origin


def _header(out: Path) -> dict[str, Any] | None:
    """The header of the checkpoint in a run's folder; None where there is none."""
    path = out / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads(file.metadata()["run"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        raise UsageError(
            "other-run",
            "The run's folder holds a checkpoint that cannot be read.",
            "Choose another out=FOLDER, or remove the old run.",
            out,
        ) from None
    return header


def _completed(before: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a checkpoint, and the defaults of those that came after it was written."""
    complete = dataclasses.asdict(configuration.build(TrainConfig, before))
    kept = {*before, *fixed} - ({"steps"} - before.keys())  # It is left out on purpose where it is free.
    return {key: value for key, value in complete.items() if key in kept}


def grow(model: SuperResolver, start: tuple[SuperResolver, Card]) -> None:
    """Take over trained weights, the function unchanged, also where the network has blocks or gates that they lack.

    Blocks are spread evenly among new ones, whose second convolution is zero; the curves of a gated stem begin as
    one at every level.

    Raises:
        WeightsError: the tensors besides the blocks differ in shape, or gates would follow another stem than
            differences.
    """
    donor, card = start
    given, own = donor.state_dict(), model.state_dict()
    count, have = _blocks(own), _blocks(given)
    if have and count > have and _deepens(own):
        places = {round(n * count / have): n for n in range(have)}
        moved = {key: value for key, value in given.items() if not key.startswith("blocks.")}
        for n in range(count):
            for part in ("first.weight", "second.weight"):
                key = f"blocks.{n}.{part}"
                if n in places:
                    moved[key] = given[f"blocks.{places[n]}.{part}"]
                else:
                    moved[key] = own[key] if part.startswith("first") else torch.zeros_like(own[key])
        given = moved
    if "stem.curves.weight" in own and "stem.curves.weight" not in given:
        gates = {key: value for key, value in own.items() if key.startswith(("stem.ramps.", "stem.curves."))}
        gates["stem.curves.weight"] = torch.zeros_like(own["stem.curves.weight"])
        gates["stem.curves.bias"] = torch.ones_like(own["stem.curves.bias"])
        given = {**given, **gates} if isinstance(getattr(donor, "stem", None), DifferenceConv) else given
    if {k: v.shape for k, v in given.items()} != {k: v.shape for k, v in own.items()}:
        raise WeightsError(
            "weights-shapes",
            f"The weights {card.name} do not fit the model that is to start from them"
            + (f": they have {have} blocks, it has {count}." if have > count else "."),
            "Give the model the width of the weights and at least their blocks.",
        )
    model.load_state_dict(given)


def _blocks(state: Mapping[str, Tensor]) -> int:
    return len({key.split(".")[1] for key in state if key.startswith("blocks.")})


def _steps_so_far(prefix: str, optimiser: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """What an optimiser remembers of each parameter, as tensors named after it."""
    named = [(name, optimiser.state[p]) for name, p in module.named_parameters() if p in optimiser.state]
    return {f"{prefix}{name}.{key}": value for name, state in named for key, value in state.items()}


def _go_on(
    tensors: Mapping[str, Tensor], prefix: str, optimiser: torch.optim.Optimizer, module: nn.Module
) -> None:
    """Give an optimiser back what `_steps_so_far` wrote; a fused one counts its steps on the device."""
    fused = {id(p) for group in optimiser.param_groups if group.get("fused") for p in group["params"]}
    for name, parameter in module.named_parameters():
        state = _under(tensors, f"{prefix}{name}.")
        counting = parameter.device if id(parameter) in fused else torch.device("cpu")
        if state:
            optimiser.state[parameter] = {
                k: v.to(counting) if k == "step" else _like(parameter, v) for k, v in state.items()
            }


def _deepens(state: Mapping[str, Tensor]) -> bool:
    """Whether the blocks are those of `mesr`, which a second convolution of zeros makes identities."""
    blocks = [key for key in state if key.startswith("blocks.")]
    return all(key.endswith((".first.weight", ".second.weight")) for key in blocks)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """A copy on the parameter's device and in its memory layout, which the fused Adam takes for granted."""
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
