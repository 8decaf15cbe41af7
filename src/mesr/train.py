"""Training, readable from top to bottom: batches, one loss, one optimiser, checkpoints that resume exactly.

Imports only torch, numpy, safetensors and yaml, so that it runs on a bare GPU machine:
`python -m mesr.train config.yaml key=value`. The command line gives it a progress bar; without one it
prints plain lines.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from . import config as configuration
from .checkpoint import Run, grow
from .data import (
    Batch,
    PatchSampler,
    TrainingSlice,
    load_slices,
    read_manifest,
    reference_pair,
)
from .errors import MesrError
from .grid import fraction
from .inference import resolve_device, use_bf16
from .losses import compound
from .metrics import psnr
from .models import build
from .models import weights as weights_files
from .models.contract import SuperResolver
from .optimiser import make_optimiser, rate
from .progress import Clock, Logs, Progress, Reporter, plain_lines
from .recipe import TrainConfig


def train(config: TrainConfig, report: Reporter | None = None) -> Path:
    """Run or resume a training and give the path of the weights file.

    The checkpoint holds weights, average, optimiser state and step; batches are functions of seed and
    step. A run killed at any moment repeats the steps since its last checkpoint exactly.

    Raises:
        UsageError: the run's folder holds another configuration's checkpoint, or a setting makes no sense.
        InputError: the training set is missing or unfit.
    """
    report = report or plain_lines()
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.sampling.seed)
    device = resolve_device(config.device)
    out = Path(config.out).expanduser()
    root = Path(config.set).expanduser()
    sampler = PatchSampler(_slices(root, "train", config), config.sampling)
    held_out = _slices(root, "val", config, every_site=True)
    model = build({"name": config.model.name, "args": config.model.args})
    if config.start:
        grow(model, weights_files.load(Path(config.start).expanduser()))
    model.to(device).train()
    loss_of = compound(config.losses)
    optimiser = make_optimiser(model, config.optimiser)
    run = Run(model, optimiser, out, config)
    run.resume()
    bf16 = use_bf16(config.precision, device)
    logs = Logs(out, run.step)

    with stop_on_signals() as stopping, ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(sampler.batch, run.step)
        clock = Clock(run.step, config.steps)
        while run.step < config.steps and not stopping():
            batch = on(device, upcoming.result())
            upcoming = ahead.submit(sampler.batch, run.step + 1)
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * rate(config.optimiser, run.step, config.steps)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                sr = model(batch.lr, batch.grid)
            loss = loss_of(sr.float(), batch.hr)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimiser.clip)
            optimiser.step()
            run.advance()
            scores = None
            if run.step % config.validation.every == 0 or run.step == config.steps:
                with run.averaged():
                    scores = validate(model, held_out, config, device, bf16)
            value = loss.item()
            logs.write(run.step, value, optimiser.param_groups[0]["lr"], scores)
            report(Progress(run.step, config.steps, value, clock.left(run.step), scores))
            if clock.minutes_since_checkpoint() >= config.checkpoint_minutes:
                run.save()
                clock.checkpointed()
    run.save()
    if run.step < config.steps:
        raise KeyboardInterrupt
    return export(run, read_manifest(root))


def validate(
    model: SuperResolver, slices: list[TrainingSlice], config: TrainConfig, device: torch.device, bf16: bool
) -> dict[str, float]:
    """Mean PSNR (dB, clipped to 0…1, borders removed) per site and scale, `{"pelvis ×2": 47.1, …}`."""
    scores: dict[str, list[float]] = {}
    for one in slices:
        hr = torch.from_numpy(one.patch(slice(None), slice(None)).copy())[None, None]
        for scale in config.validation.scales:
            pair = on(device, reference_pair(hr, fraction(scale), config.sampling.degradation))
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                sr = model(pair.lr, pair.grid)
            value = psnr(sr.float()[0, 0].cpu().numpy(), pair.hr[0, 0].cpu().numpy(), math.ceil(scale))
            scores.setdefault(f"{one.site} ×{scale:g}", []).append(value)
    return {key: sum(values) / len(values) for key, values in sorted(scores.items())}


def export(run: Run, manifest: Mapping[str, Any]) -> Path:
    """The averaged weights as a weights file that says how they came to be."""
    config = run.config
    used = [
        s for s in manifest["series"] if s["split"] == "train" and s["modality"] in config.sampling.modalities
    ]
    sampling = config.sampling
    about = {
        "intensity": "CT: HU -1000 to 1000 as 0 to 1, linear, unclipped; MR: 1st to 99.5th percentile as 0 to 1",
        "training": {
            "modalities": sorted(set(sampling.modalities)),
            "scales": sampling.scales or [sampling.low, sampling.high],
            "spacing_mm": _range([d for s in used for d in s["spacing"][1:]]),
            "degradation": sampling.degradation,
            "steps": run.step,
            "batch": sampling.batch,
            "patch": sampling.patch,
            "minutes": round(run.seconds / 60, 1),
            "losses": dict(config.losses),
            "optimiser": dataclasses.asdict(config.optimiser),
            "start": config.start,
            "seed": sampling.seed,
        },
        "data": [
            {key: s[key] for key in ("id", "modality", "licence", "source")} | {"slices": len(s["slices"])}
            for s in used
        ],
    }
    path = run.out / f"{config.name}.safetensors"
    spec = {"name": config.model.name, "args": dict(config.model.args)}
    weights_files.save(path, config.name, spec, run.average, about, force=True)
    return path


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM arrived: the run then writes its checkpoint and ends."""
    arrived: list[int] = []
    try:
        before = {
            s: signal.signal(s, lambda number, _: arrived.append(number))
            for s in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # Signals belong to the main thread; elsewhere the caller stops us.
        before = {}
    try:
        yield lambda: bool(arrived)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def on(device: torch.device, batch: Batch) -> Batch:
    """The batch's tensors on a device."""
    return Batch(batch.lr.to(device), batch.hr.to(device), batch.grid)


def _slices(root: Path, split: str, config: TrainConfig, every_site: bool = False) -> list[TrainingSlice]:
    sampling = config.sampling
    if not every_site:
        return load_slices(root, split, sampling.modalities, sampling.sites, sampling.series)
    found = load_slices(root, split, sampling.modalities)
    chosen: list[TrainingSlice] = []
    for site in sorted({one.site for one in found}):
        there = [one for one in found if one.site == site]
        count = min(config.validation.slices, len(there))
        chosen += [there[len(there) * (2 * n + 1) // (2 * count)] for n in range(count)]
    return chosen


def _range(values: list[float]) -> list[float]:
    return [min(values), max(values)]


def main(arguments: list[str]) -> None:
    """`python -m mesr.train config.yaml key=value`: the bare door, for machines without the command line."""
    try:
        print(train(configuration.load(TrainConfig, Path(arguments[0]), arguments[1:])))
    except MesrError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped; the same command goes on from the checkpoint.")


if __name__ == "__main__":
    main(sys.argv[1:])
