"""Kernels recorded once and launched together: a GPU computes a small slice faster than Python can ask for its parts.

A body of 16 blocks is some hundred kernels. The first image of a shape is computed as it comes, which is also when
cuDNN makes its choices; the second is recorded as a CUDA graph, and from then on one launch does the work of all.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .memory import ran_out

MOST_SHAPES = 16
"""Recorded at most: a slice cut into tiles has corners, edges and an inside, whose sizes differ by a pixel."""

Work = Callable[[Tensor], Tensor]
Recorder = Callable[[Work, Tensor], Work]

_RECORDING = threading.Lock()
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
        self._record: Recorder | None = record or CudaGraphs().record
        self._seen: set[torch.Size] = set()
        self._made: dict[torch.Size, Work] = {}

    def __call__(self, image: Tensor) -> Tensor:
        shape = image.shape
        if shape in self._seen and self._record is not None and len(self._made) < MOST_SHAPES:
            self._seen.discard(shape)
            self._made[shape] = self._recorded(self._record, image)
        elif shape not in self._made:
            self._seen.add(shape)
        return self._made.get(shape, self._work)(image)

    def _recorded(self, record: Recorder, image: Tensor) -> Work:
        """The recorded form; after a failure the work itself, and nothing is recorded any more."""
        try:
            return record(self._work, image)
        except RuntimeError as error:
            self._record = None
            if ran_out(error):
                raise
            _LOG.warning("kernels are launched one by one: recording ended in a %s", type(error).__name__)
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
        with _RECORDING, torch.cuda.device(image.device):
            here = torch.cuda.current_stream()
            cached = torch.is_autocast_cache_enabled()
            # Weights that autocast keeps in bfloat16 would live in the graph's memory and be lost with it.
            torch.set_autocast_cache_enabled(False)
            try:
                return self._replayed(work, image.clone(), here)
            finally:
                torch.set_autocast_cache_enabled(cached)
                torch.cuda.set_stream(here)

    def _replayed(self, work: Work, held: Tensor, here: torch.cuda.Stream) -> Work:
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            expected = work(held).clone()
        here.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=aside, capture_error_mode="thread_local"):
            answer = work(held)
        # A graph that missed a part of the work would give the same answer for ever.
        answer.zero_()
        graph.replay()
        if not torch.allclose(
            answer.float(), expected.float(), rtol=0.05, atol=1e-3 * float(expected.abs().max())
        ):
            raise RuntimeError("a recorded graph does not give what the work gives")

        def replayed(image: Tensor) -> Tensor:
            with torch.cuda.device(held.device):
                held.copy_(image)
                graph.replay()
            return answer

        return replayed
