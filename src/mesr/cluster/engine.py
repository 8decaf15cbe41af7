"""Ray, and nothing but: joining a cluster, the pool of workers, rows out and rows back as they are done.

Ray's own ports let anyone who reaches them run programs, unless it is told to ask for a token. A cluster that is started
here, for this machine alone, listens on the loopback address, asks for a token of its own, and has neither a dashboard
nor usage statistics.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MesrError, MissingExtra, UsageError
from ..runtime import processors
from .fates import Fate, from_json
from .work import Unit
from .worker import Plan, Worker

MAX_BLOCKS = 10_000
"""Of rows that Ray Data keeps track of one by one; of more studies than that, several are in a block."""

_STORE_BYTES = 256 << 20
"""Shared memory of a cluster started here. A row is an id and some paths."""


@dataclass(frozen=True)
class Pool:
    """How the cluster is shared out.

    Attributes:
        workers: at most; None for as many as fit the cluster as it is now.
        cpus: processors of each, and its threads.
        gpus: GPUs of each, a part of one to share it; None for one where the cluster has any and the device asked
            for is not the CPU.
    """

    workers: int | None = None
    cpus: int = 1
    gpus: float | None = None

    def check(self) -> None:
        """Refuse what makes no pool.

        Raises:
            UsageError: code `cluster-share`.
        """
        gpus = 0.0 if self.gpus is None else self.gpus
        whole = gpus < 1 or gpus == int(gpus)
        if (self.workers is not None and self.workers < 1) or self.cpus < 1 or gpus < 0 or not whole:
            raise UsageError(
                "cluster-share",
                "A worker needs one processor or more, and no GPU, whole ones or a part of one;"
                " and there must be one worker or more.",
            )


def require() -> None:
    """Refuse before any work where Ray is not installed.

    Raises:
        MissingExtra: code `missing-extra`.
    """
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra(package="ray", extra="cluster", purpose="--cluster")


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """In a cluster: the one this program is in already, or that RAY_ADDRESS names; else a new one.

    A new one is of this machine alone and ends with the block. One that merely runs here is left alone: it may be
    another user's.

    Raises:
        MissingExtra: Ray is not installed.
        MesrError: code `no-cluster`, RAY_ADDRESS names one that does not answer.
    """
    require()
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What its core prints beside the log is for its developers.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if not address:
        # Ray reads this when it is imported. It would make of the loopback address one that others reach.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # Who connects must know it. Without it Ray would keep one for good in the user's home.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    quiet: dict[str, Any] = {
        "log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": False,
    }  # fmt: skip
    if address:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError):
            raise MesrError(
                "no-cluster",
                "The Ray cluster that RAY_ADDRESS names does not answer.",
                "Start it with ray start --head, or unset RAY_ADDRESS to use this machine alone.",
            ) from None
    else:
        ray.init(
            address="local",
            num_cpus=processors(),
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
    try:
        yield
    finally:
        ray.shutdown()


def spread(units: Sequence[Unit], plan: Plan, pool: Pool) -> Iterator[tuple[Unit, list[Fate]]]:
    """Do every unit, of which there is one or more, on the cluster and give what became of it, as each is done.

    Raises:
        UsageError: code `cluster-share`, no machine has room for a worker.
        MesrError: code `cluster-failed`, Ray gave up; what was done stays done.
    """
    import ray.data
    from ray.exceptions import RayError

    gpus = _gpus(pool, plan)
    workers = pool.workers or _room(pool.cpus, gpus)
    workers = min(workers, len(units))
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    by_tag = {unit.tag: unit for unit in units}
    with ray.data.DataContext.current(context):
        rows = ray.data.from_items(
            [unit.to_row() for unit in units], override_num_blocks=min(len(units), MAX_BLOCKS)
        ).map(
            Worker,
            fn_constructor_args=(plan,),
            num_cpus=pool.cpus,
            num_gpus=gpus,
            # One study at a time: the next goes to whoever is free, and few are done again for a lost worker.
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=1
            ),
        )
    try:
        for block in rows.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
            for row in block.to_pylist():
                yield by_tag[row["tag"]], from_json(row["fates"])
    except RayError as error:
        raise MesrError(
            "cluster-failed",
            f"The Ray cluster gave up ({type(error).__name__}).",
            "See that mesr is installed on every machine; the same command goes on from what is done.",
        ) from error


def _gpus(pool: Pool, plan: Plan) -> float:
    """GPUs of each worker."""
    import ray

    if pool.gpus is not None:
        return pool.gpus
    device = plan.settings.compute.device
    there = ray.cluster_resources().get("GPU", 0) >= 1
    return float(device.startswith("cuda") or (device == "auto" and there))


def _room(cpus: int, gpus: float) -> int:
    """How many workers fit the machines that are there.

    Raises:
        UsageError: code `cluster-share`, none does.
    """
    import ray

    count = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            fits = [has.get("CPU", 0) // cpus] + ([has.get("GPU", 0) // gpus] if gpus else [])
            count += int(min(fits))
    if count == 0:
        raise UsageError(
            "cluster-share",
            f"A worker was to have {cpus} processors and {gpus:g} GPUs, found no machine with so many.",
            "Ask for less with --worker-cpus and --worker-gpus.",
        )
    return count
