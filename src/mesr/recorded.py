"""Kernels recorded once and launched together: a GPU computes a small slice faster than Python can ask for its parts.

A body of 16 blocks is some hundred kernels. The first image of a shape is computed as it comes, which is also when
cuDNN makes its choices; the second is recorded as a CUDA graph, and from then on one launch does the work of all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .memory import ran_out

MOST_SHAPES = 9
"""Recorded at most: a slice cut into tiles has corners, edges and an inside."""

Work = Callable[[Tensor], Tensor]
Recorder = Callable[[Work, Tensor], Work]

_LOG = logging.getLogger(__name__)


def records(device: torch.device) -> bool:
    """Whether kernels can be recorded there."""
    return device.type == "cuda"


class Recorded:
    """A function of one image that does the same for every image of a shape, without gradients.

    What it gives is overwritten by its next call for an image of that shape.

    Args:
        work: the function; no step of it may depend on values, nor copy from the host.
        record: makes a quicker form of the work for images like one.
    """

    def __init__(self, work: Work, record: Recorder | None = None) -> None:
        self._work = work
        self._record = record or CudaGraphs().record
        self._seen: set[torch.Size] = set()
        self._made: dict[torch.Size, Work] = {}

    def __call__(self, image: Tensor) -> Tensor:
        shape = image.shape
        if shape in self._seen and len(self._made) < MOST_SHAPES:
            self._seen.discard(shape)
            self._made[shape] = self._recorded(image)
        elif shape not in self._made:
            self._seen.add(shape)
        return self._made.get(shape, self._work)(image)

    def _recorded(self, image: Tensor) -> Work:
        """The recorded form, or the work itself where it cannot be recorded; the log says why."""
        try:
            return self._record(self._work, image)
        except RuntimeError as error:
            if ran_out(error):
                raise
            _LOG.warning("kernels are launched one by one: %s", type(error).__name__)
            return self._work


class CudaGraphs:
    """Records CUDA graphs that share their memory, as no two of them are ever at work."""

    def __init__(self) -> None:
        self._pool: Any = None

    def record(self, work: Work, image: Tensor) -> Work:
        """The work on images of this shape as one launch.

        Raises:
            RuntimeError: the device cannot record it.
        """
        held = image.clone()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        cached = torch.is_autocast_cache_enabled()
        # Weights that autocast keeps in bfloat16 would live in the graph's memory and be lost with it.
        torch.set_autocast_cache_enabled(False)
        try:
            _warmed(work, held)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                answer = work(held)
        finally:
            torch.set_autocast_cache_enabled(cached)

        def replayed(image: Tensor) -> Tensor:
            held.copy_(image)
            graph.replay()
            return answer

        return replayed


def _warmed(work: Work, image: Tensor) -> None:
    """Once on a stream of its own, as recording asks for."""
    aside, here = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        work(image)
    here.wait_stream(aside)
