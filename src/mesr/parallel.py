"""Several processes training one network: who this one is, its share of a batch, and what all must agree on.

`torchrun` starts them and `DistributedDataParallel` averages the network's gradients; a critic, which no wrapper
takes, has its own averaged by hand. A program that `torchrun` did not start is alone, and everything here gives back
what it was given. Numbers are exchanged by Gloo on the CPU, gradients by what fits the device they are on.
"""

from __future__ import annotations

import datetime
import gc
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from .data import Batch
from .errors import UsageError

if torch.distributed.is_available():
    # Its functions take the group that stands when it is imported as a default, and an optimiser imports it. Imported
    # inside a group it would keep that group, whose threads the end of the interpreter aborts now and then.
    import torch.distributed.nn.functional

PATIENCE = datetime.timedelta(hours=1)
"""How long a process waits for another: the first one validates and saves while the others stand."""


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that `torchrun` started, each with a GPU of its own where there are enough.

    Alone without `torchrun`, and in a process that has joined already.
    """
    distributed = torch.distributed
    if (
        not (distributed.is_available() and distributed.is_torchelastic_launched())
        or distributed.is_initialized()
    ):
        yield
        return
    local = int(os.environ["LOCAL_RANK"])
    if local < torch.cuda.device_count():
        torch.cuda.set_device(local)
    distributed.init_process_group(timeout=PATIENCE)
    try:
        yield
    finally:
        # A network in a cycle of references would keep the group, whose threads the end of the interpreter aborts.
        gc.collect()
        distributed.destroy_process_group()


def place() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) where `torch.distributed` is not at work."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def first() -> bool:
    """Whether this is the process that speaks for all; told before it has joined the others and after."""
    return os.environ.get("RANK", "0") == "0"


def check(batch: int, model: nn.Module, device: torch.device, critic: str | None = None) -> None:
    """Refuse what several processes could not do as one would.

    Args:
        critic: its loss (`losses.CriticConfig`); None where there is no critic.

    Raises:
        UsageError: code `processes`: the batch does not divide evenly, the network or the critic has batch norm, whose
            statistics would be of a share, or there are more processes here than GPUs.
    """
    _, count = place()
    if count == 1:
        return
    if batch % count:
        raise UsageError(
            "processes",
            f"sampling.batch must divide evenly among the processes, found {batch} among {count}.",
            f"Take a multiple of {count}.",
        )
    if any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise UsageError(
            "processes",
            "A network with batch norm learns otherwise from shares of a batch than from the whole.",
            "Train it in one process.",
        )
    # The others have batch norm, whose running statistics are saved from the first process alone; a relativistic one
    # compares with the mean over its share besides.
    if critic not in (None, "wasserstein"):
        raise UsageError(
            "processes",
            f"A critic with critic.loss {critic} learns otherwise from shares of a batch than from the whole.",
            "Train it in one process, or use critic.loss=wasserstein.",
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    if device.type == "cuda" and here > torch.cuda.device_count():
        raise UsageError(
            "processes",
            f"Every process needs a GPU of its own, found {torch.cuda.device_count()} for {here}.",
            "Start fewer with --nproc-per-node, or add device=cpu.",
        )


def check_same(step: int) -> None:
    """Refuse to go on where the processes stand at different steps.

    Raises:
        UsageError: code `processes`.
    """
    _, count = place()
    steps = torch.zeros(count, dtype=torch.int64)
    if count > 1:
        torch.distributed.all_gather_into_tensor(steps, torch.tensor([step]))
        if int(steps.min()) != int(steps.max()):
            raise UsageError(
                "processes",
                f"The processes found checkpoints of different steps, {int(steps.min())} to {int(steps.max())}.",
                "Give an out=FOLDER that all machines share.",
            )


def wrapped(model: nn.Module) -> nn.Module:
    """The network as a step of training calls it: its gradients are the mean over all processes after `backward`."""
    _, count = place()
    return model if count == 1 else DistributedDataParallel(model, broadcast_buffers=False)


def share(batch: Batch) -> Batch:
    """The part of a batch that this process learns from; equal parts, in the order of the processes."""
    rank, count = place()
    size = len(batch.lr) // count
    mine = slice(rank * size, (rank + 1) * size)
    return Batch(batch.lr[mine], batch.hr[mine], batch.grid)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the processes, in one exchange; nothing where there is one.

    With equal shares of a batch and losses that are means over it, that is the whole batch's gradient.
    """
    _, count = place()
    if count == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    parts = torch.split(flat / count, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def average(values: Mapping[str, float]) -> dict[str, float]:
    """Each value's mean over the processes, which all name the same ones; the whole batch's, for means over shares."""
    _, count = place()
    if count == 1:
        return dict(values)
    numbers = torch.tensor(list(values.values()), dtype=torch.float64)
    torch.distributed.all_reduce(numbers)
    return dict(zip(values, (numbers / count).tolist(), strict=True))


def anywhere(happened: bool) -> bool:
    """Whether it happened in any process: a signal reaches them at different steps, and all must stop at one."""
    _, count = place()
    if count == 1:
        return happened
    flag = torch.tensor(int(happened))
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
    return bool(flag)


def wait() -> None:
    """Until every process has come here."""
    if place()[1] > 1:
        torch.distributed.barrier()
