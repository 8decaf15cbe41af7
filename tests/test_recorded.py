"""Kernels recorded once a shape: when that happens, and that results stay what they were."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import Tensor

from mesr import inference, recorded
from mesr.grid import Target
from mesr.inference import Options, Upscaler
from mesr.intensity import HU_WINDOW
from mesr.models import SuperResolver, build
from mesr.recorded import MOST_SHAPES, Recorded, Work


def _tiny() -> SuperResolver:
    torch.manual_seed(0)
    return build(
        {"name": "mesr", "args": {"blocks": 2, "features": 16, "hidden": 16, "corrections": 1}}
    ).eval()


class Recording:
    """A recorder for the processor: what it makes answers from one place in memory, as a graph does."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def record(self, work: Work, image: Tensor) -> Work:
        self.shapes.append(tuple(image.shape))
        held = image.clone()
        answer = work(held)

        def replayed(image: Tensor) -> Tensor:
            held.copy_(image)
            return answer.copy_(work(held))

        return replayed


def test_a_shape_is_recorded_at_its_second_image() -> None:
    recording = Recording()
    twice = Recorded(lambda image: 2 * image, recording.record)
    for n, shape in enumerate([(4, 4), (4, 5), (4, 4), (4, 4), (4, 5)]):
        image = torch.full(shape, float(n))
        torch.testing.assert_close(twice(image), 2 * image)
    assert recording.shapes == [(4, 4), (4, 5)]


def test_no_more_shapes_are_recorded_than_a_tiled_slice_has() -> None:
    recording = Recording()
    twice = Recorded(lambda image: 2 * image, recording.record)
    for _ in range(3):
        for size in range(1, MOST_SHAPES + 4):
            torch.testing.assert_close(twice(torch.ones(size)), torch.full((size,), 2.0))
    assert recording.shapes == [(size,) for size in range(1, MOST_SHAPES + 1)]


def test_what_cannot_be_recorded_is_computed_as_it_comes(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def refuses(work: Work, image: Tensor) -> Work:
        calls.append(image.shape)
        raise RuntimeError("operation not permitted when stream is capturing")

    twice = Recorded(lambda image: 2 * image, refuses)
    with caplog.at_level(logging.WARNING, "mesr.recorded"):
        for _ in range(4):
            torch.testing.assert_close(twice(torch.ones(3)), torch.full((3,), 2.0))
    assert len(calls) == 1
    assert "one by one" in caplog.text


def test_no_memory_to_record_is_no_memory() -> None:
    """So that the slice is done again in smaller tiles."""

    def runs_out(work: Work, image: Tensor) -> Work:
        raise torch.OutOfMemoryError("CUDA out of memory")

    twice = Recorded(lambda image: 2 * image, runs_out)
    twice(torch.ones(3))
    with pytest.raises(torch.OutOfMemoryError):
        twice(torch.ones(3))


@pytest.mark.parametrize("tile", [None, 24])
def test_recorded_slices_equal_the_others(monkeypatch: pytest.MonkeyPatch, tile: int | None) -> None:
    """Whole and in tiles, whose corners, edges and inside are shapes of their own."""
    recording = Recording()
    monkeypatch.setattr(recorded, "CudaGraphs", lambda: recording)
    monkeypatch.setattr(inference, "records", lambda device: True)
    grid = Target.of(scale="1.3x2.5").grid((1, 70, 64), None)
    model = _tiny()
    upscaler = Upscaler(model, grid, HU_WINDOW, Options(precision="float32", tile=tile))
    rng = np.random.default_rng(0)
    for _ in range(4):
        values = rng.normal(0, 300, (70, 64)).astype(np.float32)
        with torch.inference_mode():
            lr = torch.from_numpy(HU_WINDOW.forward(values))[None, None]
            expected = HU_WINDOW.inverse(model.whole(lr, grid)[0, 0].numpy())
        np.testing.assert_allclose(upscaler.compute(values), expected, atol=0.01)
    assert recording.shapes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_replays_what_it_recorded() -> None:
    model = _tiny().cuda()
    grid = Target.of(scale=2).grid((1, 64, 64), None)
    upscaler = Upscaler(model, grid, HU_WINDOW, Options(device="cuda", precision="float32"))
    rng = np.random.default_rng(0)
    for _ in range(4):
        values = rng.normal(0, 300, (64, 64)).astype(np.float32)
        with torch.inference_mode():
            lr = torch.from_numpy(HU_WINDOW.forward(values))[None, None].cuda()
            expected = HU_WINDOW.inverse(model.whole(lr, grid)[0, 0].cpu().numpy())
        np.testing.assert_allclose(upscaler.compute(values), expected, atol=0.1)
