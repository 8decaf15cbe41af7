"""Training, readable from top to bottom: batches, the critic's lessons, one loss, one optimiser, checkpoints.

Imports only torch, numpy, safetensors and yaml, so that it runs on a bare GPU machine:
`python -m mesr.train config.yaml key=value`, or `torchrun --nproc-per-node 8 -m mesr.train …` for processes that share
every batch (`parallel`). The command line gives it a progress bar; without one it prints plain lines.
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
from torch import Tensor

from . import config as configuration
from . import parallel, runtime
from .checkpoint import Run, begin, made_folder
from .data import Batch, TrainingSlice, load_slices, read_manifest, reference_pair, spread
from .device import resolve_device, use_bf16
from .errors import MesrError, UsageError
from .grid import fraction
from .losses import Adversary, Compound, FeatureDistance, Lattice, Perceptual, looking, pixel
from .losses.compound import Term
from .losses.perceptual import FEATURE_DISTANCES
from .metrics import psnr
from .models import build
from .models import weights as weights_files
from .models.contract import SuperResolver
from .models.discriminator import Discriminator
from .optimiser import make_optimiser, rate
from .progress import Clock, Logs, Progress, Reporter, plain_lines
from .provenance import about, learnt
from .recipe import TrainConfig, check
from .sampling import PatchSampler

CRITIC_SEED = 1 << 32
"""Added to the seed for the critic's batches, which are others than the generator's."""


@parallel.joined()
def train(config: TrainConfig, report: Reporter | None = None) -> Path:
    """Run or resume a training and give the path of the weights file.

    Of several processes each learns from its share of the batch, and the first alone judges, reports and saves.

    The checkpoint holds weights, average, critic, optimisers' states and step; batches are functions of seed
    and step. A run killed at any moment repeats the steps since its last checkpoint exactly.

    Raises:
        UsageError: the run's folder holds another configuration's checkpoint, or a setting makes no sense.
        OutputError: the run's folder cannot be written.
        InputError: the training set is missing or unfit.
        WeightsError: the weights to start from, or the perceptual term's network, cannot be had.
        MesrError: code `diverged`, the loss or its gradient is not finite; the last checkpoint is left as it is.
    """
    check(config)
    report = report or plain_lines()
    rank, _ = parallel.place()
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.sampling.seed)
    device = resolve_device(config.device)
    root = Path(config.set).expanduser()
    slices = _slices(root, "train", config)
    if config.model.args.get("corrections") and any(one.paired is not None for one in slices):
        raise UsageError(
            "config",
            "model.args.corrections bring back what the input holds, and so what another scanner saw in place of"
            " the reference.",
            "Leave corrections out.",
        )
    sampler = PatchSampler(slices, config.sampling)
    others = dataclasses.replace(config.sampling, seed=config.sampling.seed + CRITIC_SEED)
    critic_sampler = PatchSampler(slices, others)
    held_out = _slices(root, "val", config, every_site=True) if config.validation.scales else []
    out = made_folder(config.out)
    model = build({"name": config.model.name, "args": config.model.args})
    origin = begin(model, config.start, out)
    model.to(device).train()
    critic = config.critic.loss if config.losses.get("adversarial") else None
    parallel.check(config.sampling.batch, model, device, critic)
    network = parallel.wrapped(model)
    optimiser = make_optimiser(model, config.optimiser)
    bf16 = use_bf16(config.precision, device)
    loss_of, adversary = objective(config, device, bf16)
    run = Run(model, optimiser, out, config, adversary, origin, learnt(config.sampling, read_manifest(root)))
    run.resume()
    parallel.check_same(run.step)
    logs = Logs(out, run.step, config.steps) if rank == 0 else None

    def upscaled(batch: Batch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            sr: Tensor = network(batch.lr, batch.grid)
        return sr.float()

    def shown(batch: Batch) -> tuple[Tensor, Tensor]:
        """What the critic learns to tell apart."""
        with torch.no_grad():
            return upscaled(batch), batch.hr

    def drawn(step: int) -> tuple[Batch, list[Batch]]:
        """This process's share of the generator's batch of a step, and of the critic's."""
        turns = config.critic.steps if loss_of.weight("adversarial", step) > 0 else 0
        lessons = [critic_sampler.batch(step * turns + turn) for turn in range(turns)]
        return parallel.share(sampler.batch(step)), [parallel.share(one) for one in lessons]

    def judged() -> dict[str, float]:
        with run.averaged():
            return validate(model, held_out, config, device, bf16)

    if logs is not None and held_out and run.step == 0:
        logs.write(0, {}, 0.0, judged())
    with stop_on_signals() as stopping, ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(drawn, run.step)
        clock = Clock(run.step, config.steps)
        while run.step < config.steps and not parallel.anywhere(stopping()):
            batch, lessons = upcoming.result()
            batch, lessons = on(device, batch), [on(device, one) for one in lessons]
            upcoming = ahead.submit(drawn, run.step + 1)
            seen: dict[str, Tensor] = {}
            if adversary is not None and lessons:
                seen |= adversary.learn(map(shown, lessons), run.step)
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * rate(config.optimiser, run.step, config.steps)
            loss, terms = loss_of(upscaled(batch), batch.hr, run.step)
            seen |= terms
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            steepness = torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimiser.clip)
            values = parallel.average({"loss": loss.item()} | {key: one.item() for key, one in seen.items()})
            refuse_divergence(run.step, values["loss"], steepness.item())
            optimiser.step()
            run.advance()
            if logs is None:
                continue
            scores = None
            if held_out and (run.step % config.validation.every == 0 or run.step == config.steps):
                scores = judged()
            logs.write(run.step, values, optimiser.param_groups[0]["lr"], scores)
            report(Progress(run.step, config.steps, values["loss"], clock.left(run.step), scores))
            if clock.minutes_since_checkpoint() >= config.checkpoint_minutes:
                run.save()
                clock.checkpointed()
    if rank == 0:
        run.save()
    if run.step < config.steps:
        raise KeyboardInterrupt
    if rank == 0:
        export(run, read_manifest(root))
    parallel.wait()
    return run.weights


def objective(config: TrainConfig, device: torch.device, bf16: bool) -> tuple[Compound, Adversary | None]:
    """The loss, with what its terms need on the device, and the critic where there is one.

    Raises:
        UsageError: a patch is too small for the perceptual term, or the critic would never learn.
        WeightsError: the perceptual term's network cannot be had.
    """
    terms: dict[str, Term] = {"l1": pixel.l1, "l2": pixel.l2, "log_l1": pixel.log_l1, "psnr": pixel.psnr}
    adversary = None
    looked_at = config.perceptual
    if looking(config.losses):
        looked_at.check()
        if config.sampling.patch < looked_at.least_side:
            raise UsageError(
                "loss",
                f"The perceptual loss at these depths needs patches of {looked_at.least_side} pixels,"
                f" found {config.sampling.patch}.",
                "Use a larger sampling.patch or fewer perceptual.depths.",
            )
    if config.losses.get("perceptual"):
        terms["perceptual"] = Perceptual.of(looked_at, device, bf16=bf16)
    for name in FEATURE_DISTANCES:
        if config.losses.get(name):
            terms[name] = FeatureDistance.of(looked_at, device, name, bf16=bf16)
    if config.losses.get("lattice"):
        terms["lattice"] = Lattice(config.sampling.patch)
    if config.losses.get("adversarial"):
        batch_norm = config.critic.loss != "wasserstein"
        critic = Discriminator(config.critic.features, batch_norm=batch_norm).to(device)
        adversary = Adversary(critic, config.critic, config.sampling.seed)
        terms["adversarial"] = adversary.term
    return Compound(terms, config.losses, config.schedule), adversary


def refuse_divergence(step: int, loss: float, steepness: float) -> None:
    """Stop before a step that would spoil the weights, and with it before they are saved.

    Raises:
        MesrError: code `diverged`, the loss or the norm of its gradient is not finite.
    """
    if not (math.isfinite(loss) and math.isfinite(steepness)):
        raise MesrError(
            "diverged",
            f"The loss and its gradient must be finite numbers; at step {step} of the training they are not.",
            "Lower optimiser.rate, critic.rate or a loss's weight and start anew in another out=FOLDER.",
        )


def validate(
    model: SuperResolver, slices: list[TrainingSlice], config: TrainConfig, device: torch.device, bf16: bool
) -> dict[str, float]:
    """Mean PSNR (dB, clipped to 0…1, borders removed) per site and scale, `{"pelvis ×2": 47.1, …}`."""
    scores: dict[str, list[float]] = {}
    for one in slices:
        hr, source = (
            torch.from_numpy(image(slice(None), slice(None)))[None, None] for image in (one.patch, one.source)
        )
        for scale in config.validation.scales:
            pair = reference_pair(hr, fraction(scale), config.sampling.degradation, source=source)
            pair = on(device, pair)
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                sr = model.whole(pair.lr, pair.grid)
            value = psnr(sr[0, 0].cpu().numpy(), pair.hr[0, 0].cpu().numpy(), math.ceil(scale))
            if value < math.inf:  # A blank slice, made exactly, says nothing.
                scores.setdefault(f"{one.site} ×{scale:g}", []).append(value)
    return {key: sum(values) / len(values) for key, values in sorted(scores.items())}


def export(run: Run, manifest: Mapping[str, Any]) -> None:
    """Write the averaged weights as a weights file that says how they came to be."""
    config = run.config
    spec = {"name": config.model.name, "args": dict(config.model.args)}
    told = about(config, manifest, run.step, run.seconds, run.origin)
    weights_files.save(run.weights, config.name, spec, run.average, told, force=True)


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
        chosen += [there[n] for n in spread(len(there), config.validation.slices)]
    return chosen


def main(arguments: list[str]) -> None:
    """`python -m mesr.train config.yaml key=value`: the bare door, for machines without the command line."""
    first = parallel.first()
    runtime.keep_memory()
    try:
        path = train(configuration.load(TrainConfig, Path(arguments[0]), arguments[1:]))
        if first:
            print(path)
    except MesrError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        if first:
            print("Stopped; the same command goes on from the checkpoint.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main(sys.argv[1:])
