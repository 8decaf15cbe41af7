"""Lazy volumes on a grid: tiles, padding, identity, residual."""

from __future__ import annotations

from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import torch

from mesr import inference
from mesr.computed import ComputedSlices, consistency
from mesr.device import computing, convolutions, named, use_bf16
from mesr.errors import InputError, UsageError
from mesr.geometry import Geometry
from mesr.grid import Grid, Target
from mesr.inference import PROBE, Options, Upscaler, upscale_volume
from mesr.intensity import HU_WINDOW, missing
from mesr.kernels import winograd
from mesr.memory import LEAST_TILE, plan_tile
from mesr.models import SuperResolver, build
from mesr.models.weights import Card, load
from mesr.tiling import tiles
from mesr.volume import ArraySlices, Slice, Volume


def _network(blocks: int = 2, corrections: int = 0) -> SuperResolver:
    torch.manual_seed(1)
    args = {"blocks": blocks, "features": 8, "hidden": 16, "corrections": corrections}
    model = build({"name": "mesr", "args": args}).eval()
    return model.requires_grad_(False)


def _volume(values: np.ndarray, padding: np.ndarray | None = None) -> Volume:
    class Padded(ArraySlices):
        def __getitem__(self, k: int) -> Slice:
            return Slice(super().__getitem__(k).values, padding)

    spacing = (3.0, 0.8, 0.8)
    return Volume(Geometry(values.shape, spacing), Padded(values), "CT", "HU")  # type: ignore[arg-type]


CARD = Card(
    "tiny",
    {"name": "mesr"},
    "0" * 64,
    {"training": {"modalities": ["CT"], "scales": [1, 4], "degradation": "bicubic"}},
)
NOISE = np.random.default_rng(0).normal(0, 300, (2, 60, 52)).astype(np.float32)


@pytest.mark.parametrize("scale", ["1.5", "2", "2.5", "3.14159", "1.3x2.2"])
@pytest.mark.parametrize("tile", [9, 16, 31])
def test_tiles_of_any_size_give_what_a_whole_slice_gives(scale: str, tile: int) -> None:
    grid = Target.of(scale=scale).grid((1, 60, 52), None)
    whole = Upscaler(_network(), grid, HU_WINDOW, Options(precision="float32", tile=4096)).compute(NOISE[0])
    tiled = Upscaler(_network(), grid, HU_WINDOW, Options(precision="float32", tile=tile)).compute(NOISE[0])
    assert np.abs(whole - tiled).max() < 0.01


@pytest.mark.parametrize("scale", ["1.5", "2.5", "1.3x2.2"])
def test_corrections_see_the_whole_slice_and_bring_it_nearer_to_its_input(scale: str) -> None:
    grid = Target.of(scale=scale).grid((1, 60, 52), None)
    plain, whole, tiled = (
        Upscaler(_network(corrections=n), grid, HU_WINDOW, Options(precision="float32", tile=tile)).compute(
            NOISE[0]
        )
        for n, tile in ((0, 4096), (2, 4096), (2, 16))
    )
    assert np.abs(whole - tiled).max() < 0.01
    before, after = (consistency(NOISE[0], result, grid) or 0.0 for result in (plain, whole))
    assert after < 0.5 * before


def test_corrections_leave_a_constant_alone_and_scale_with_the_image() -> None:
    grid = Target.of(scale="1.7").grid((1, 60, 52), None)
    upscaler = Upscaler(_network(corrections=2), grid, HU_WINDOW, Options(precision="float32"))
    assert np.abs(upscaler.compute(np.full((60, 52), 3000, np.float32)) - 3000).max() < 0.01
    doubled = upscaler.compute(2 * NOISE[0] + 500)
    assert np.abs(doubled - 2 * upscaler.compute(NOISE[0]) - 500).max() < 0.02


def test_tiles_cover_the_axis_once() -> None:
    axis = Target.of(scale="2.7").grid((1, 100, 100), None).rows
    parts = list(tiles(axis, 17, 7))
    assert parts[0].start == 0
    assert parts[-1].stop == axis.size_out
    assert all(a.stop == b.start for a, b in pairwise(parts))


def _starving(model: SuperResolver, most: int, error: Exception) -> list[int]:
    """Let a model run out of memory on more than `most` rows; the list of rows it is asked for."""
    asked: list[int] = []

    def starved(_: torch.nn.Module, arguments: tuple[torch.Tensor, Grid]) -> None:
        asked.append(arguments[0].shape[2])
        if asked[-1] > most:
            raise error

    model.register_forward_pre_hook(starved)
    return asked


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
        ),
        MemoryError(),
    ],
)
def test_a_slice_that_does_not_fit_is_done_again_in_smaller_tiles(error: Exception) -> None:
    noise = np.random.default_rng(1).normal(0, 300, (150, 140)).astype(np.float32)
    grid = Target.of(scale=2).grid((1, 150, 140), None)
    wanted = Upscaler(_network(1), grid, HU_WINDOW, Options(precision="float32")).compute(noise)
    model = _network(1)
    asked = _starving(model, 60, error)
    upscaler = Upscaler(model, grid, HU_WINDOW, Options(precision="float32"))
    assert np.abs(upscaler.compute(noise) - wanted).max() < 0.01
    assert [rows for rows in asked if rows > 60][:2] == [150, 75 + 5]
    before = len(asked)
    upscaler.compute(noise)
    assert max(asked[before:]) <= 60


def test_what_fits_nowhere_is_out_of_memory_and_other_errors_stay_themselves() -> None:
    grid = Target.of(scale=2).grid((1, 150, 140), None)
    values = np.zeros((150, 140), np.float32)
    for error, expected in (
        (torch.OutOfMemoryError("out of memory"), MemoryError),
        (RuntimeError("other"), RuntimeError),
    ):
        model = _network(1)
        asked = _starving(model, 0, error)
        with pytest.raises(expected):
            Upscaler(model, grid, HU_WINDOW, Options(precision="float32")).compute(values)
        assert min(asked) >= LEAST_TILE if expected is MemoryError else len(asked) == 1


def test_a_large_slice_is_tiled_within_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _network()
    grid = Target.of(scale=2).grid((1, 4096, 4096), None)
    monkeypatch.setattr("mesr.memory.free_memory", lambda _: 1 << 30)
    assert plan_tile(model, grid) < 512
    assert plan_tile(model, Target.of(scale=2).grid((1, 256, 256), None)) == 256


def test_scale_one_gives_the_input_back_bit_for_bit() -> None:
    result = upscale_volume(_volume(NOISE), Target.of(scale=1), _network(), CARD, "scale 1")
    for k in range(2):
        assert np.array_equal(result.slices[k].values, NOISE[k])
    assert result.geometry == _volume(NOISE).geometry


def test_a_result_knows_where_it_is_and_what_made_it() -> None:
    result = upscale_volume(_volume(NOISE), Target.of(spacing=0.5), _network(), CARD, "spacing 0.5 mm")
    assert result.geometry.size == (2, 96, 83)
    assert result.spacing == pytest.approx((3.0, 0.5, 52 * 0.8 / 83))
    assert result.array.shape == (2, 96, 83)
    assert result.derivation is not None
    assert result.derivation.model == "tiny"
    assert "96" in result.derivation.settings
    assert result.slices[0].residual is not None


def test_the_estimate_counts_slices_and_what_tiles_do_twice() -> None:
    model = _network(1)
    grid = Target.of(scale=2).grid((1, 400, 300), None)
    seconds = iter(range(100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesr.inference.time.perf_counter", lambda: float(next(seconds)))
        whole = Upscaler(model, grid, HU_WINDOW, Options("cpu", "float32")).estimate()
        tiled = Upscaler(model, grid, HU_WINDOW, Options("cpu", "float32", tile=100)).estimate()
        made = Upscaler(model, grid, HU_WINDOW, Options("cpu", "float32"))
        before = next(seconds)
        made.estimate(quick=1000.0)
        assert next(seconds) == before + 3, "one probe tells that it is quick"
    assert whole == pytest.approx(400 * 300 / PROBE**2)
    assert 1.05 * whole < tiled < 2 * whole


def test_padding_takes_no_part_and_comes_back() -> None:
    values = np.full((1, 40, 40), 50, dtype=np.float32)
    padding = np.zeros((40, 40), dtype=bool)
    padding[:, :10] = True
    values[0][padding] = -2000
    result = upscale_volume(_volume(values, padding), Target.of(scale=2), load("sinc")[0], CARD, "").slices[0]
    assert result.padding is not None
    assert (result.values[result.padding] == -2000).all()
    np.testing.assert_allclose(result.values[~result.padding], 50, atol=0.01)


def test_impossible_ct_values_are_undeclared_padding() -> None:
    values = np.zeros((4, 4), dtype=np.float32)
    values[0] = -3024
    found = missing(values, None, "HU")
    assert found is not None
    assert found.sum() == 4
    assert missing(values, None, "") is None


def test_what_cannot_be_measured_keeps_its_value_and_only_declared_padding_is_marked() -> None:
    values = np.full((1, 40, 40), 50, dtype=np.float32)
    values[0, 20, 30] = -33708
    padding = np.zeros((40, 40), dtype=bool)
    padding[:, :10] = True
    values[0][padding] = -3024
    for declared in (padding, None):
        result = upscale_volume(_volume(values, declared), Target.of(scale=2), load("sinc")[0], CARD, "")
        one = result.slices[0]
        assert (one.values[40:42, 60:62] == -33708).all()
        assert (one.values[:, :20] == -3024).all()
        np.testing.assert_allclose(one.values[:38, 20:], 50, atol=0.01)
        if declared is None:
            assert one.padding is None
        else:
            assert one.padding is not None
            assert one.padding.sum() == 80 * 20


def test_the_residual_is_small_for_a_consistent_result_only() -> None:
    grid = Target.of(scale=2).grid((1, 32, 32), None)
    smooth = np.add.outer(np.arange(32.0), np.arange(32.0)).astype(np.float32)
    result = Upscaler(load("bicubic")[0], grid, HU_WINDOW).compute(smooth)
    right = consistency(smooth, result, grid)
    wrong = consistency(smooth, result + 10, grid)
    assert right is not None
    assert wrong is not None
    assert right < 0.1
    assert wrong == pytest.approx(10, abs=0.2)


def test_a_network_does_not_shrink() -> None:
    target = Target.of(scale="0.5", downsample=True)
    with pytest.raises(UsageError, match="does not shrink"):
        upscale_volume(_volume(NOISE), target, _network(), CARD, "")
    shrunk = upscale_volume(_volume(NOISE), target, load("bicubic")[0], Card("bicubic", {}, "", {}), "")
    assert shrunk.array.shape == (2, 30, 26)
    assert shrunk.slices[0].residual is None


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 7), (3, 5, 1)])
def test_one_pixel_volumes_work(shape: tuple[int, int, int]) -> None:
    result = upscale_volume(_volume(np.zeros(shape, np.float32)), Target.of(scale=2), _network(), CARD, "")
    assert result.array.shape == (shape[0], 2 * shape[1], 2 * shape[2])


def test_an_unknown_device_is_refused_plainly() -> None:
    with pytest.raises(UsageError, match="no device"):
        Upscaler(
            _network(),
            Grid(*[Target.of(scale=2).grid((1, 4, 4), None).rows] * 3),
            HU_WINDOW,
            Options(device="cuda:77"),
        )


@pytest.mark.parametrize(
    ("tiles", "vectors", "kernels", "expected"),
    [
        (True, True, True, True),
        (False, True, True, False),
        (False, True, False, True),
        (False, False, False, False),
    ],
)
def test_bfloat16_is_chosen_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, tiles: bool, vectors: bool, kernels: bool, expected: bool
) -> None:
    """On matrix tiles always, on vector instructions only where Winograd's float32 form cannot be had."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    monkeypatch.setattr(winograd, "available", lambda: kernels)
    assert use_bf16("auto", torch.device("cpu")) is expected
    assert use_bf16("bf16", torch.device("cpu")) is True
    assert use_bf16("float32", torch.device("cpu")) is False


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float16")])
def test_a_gpu_takes_half_precision_of_the_kind_it_has(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    def supported(*, including_emulation: bool) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    gpu = torch.device("cuda")
    assert named(convolutions("auto", gpu)) == expected
    assert named(convolutions("float32", gpu)) == "float32"
    assert use_bf16("auto", gpu) is native  # In training, where float16 would need its gradients scaled.


def test_float16_is_close_to_float32() -> None:
    """Of features, as on GPUs without bfloat16; the image and the sum stay float32."""
    model, image = _network(), torch.rand(1, 1, 24, 20, generator=torch.Generator().manual_seed(0))
    grid = Target.of(scale="2.3").grid((1, 24, 20), None)
    with torch.inference_mode():
        expected = model(image, grid)
        with computing(torch.device("cpu"), torch.float16):
            found = model(image, grid)
    assert found.dtype is torch.float32
    assert 0 < (found - expected).abs().max() < 1e-3


def test_small_slices_in_order_are_computed_several_at_once_and_are_the_same() -> None:
    rng = np.random.default_rng(0)
    volume = _volume(rng.normal(0, 300, (7, 20, 24)).astype(np.float32))
    result = upscale_volume(volume, Target.of(scale="2.3"), _network(), CARD, "")
    assert isinstance(result.slices, ComputedSlices)
    upscaler = result.slices._upscaler
    assert upscaler.together == inference.TOGETHER["cpu"] // (20 * 24)
    alone = [upscaler.compute(volume.slices[k].values) for k in range(7)]
    with patch.object(upscaler, "compute", wraps=upscaler.compute) as computed:
        for k, expected in enumerate(alone):
            np.testing.assert_allclose(result.slices[k].values, expected, atol=0.01)
        # The first by itself, for who wants only that; then all that follow.
        assert [len(call.args[0]) for call in computed.call_args_list] == [1, 6]
        for k in (5, 2, 2):
            np.testing.assert_allclose(result.slices[k].values, alone[k], atol=0.01)
        assert [len(call.args[0]) for call in computed.call_args_list[2:]] == [1, 1, 1]


def test_a_slice_that_cannot_be_read_does_not_stop_those_before_it() -> None:
    class Broken(ArraySlices):
        def __getitem__(self, k: int) -> Slice:
            if k == 3:
                raise InputError("pixels", "Slice 4 cannot be decoded.")
            return super().__getitem__(k)

    values = np.zeros((6, 20, 24), np.float32)
    volume = Volume(Geometry(values.shape, (1.0, 1.0, 1.0)), Broken(values), "CT", "HU")  # type: ignore[arg-type]
    result = upscale_volume(volume, Target.of(scale=2), _network(), CARD, "")
    for k in range(3):
        assert result.slices[k].values.shape == (40, 48)
    with pytest.raises(InputError, match="Slice 4"):
        _ = result.slices[3]
    assert result.slices[4].values.shape == (40, 48)


def test_large_slices_and_tiles_are_computed_one_by_one() -> None:
    for size, tile in ((256, None), (64, 32)):
        grid = Target.of(scale=2).grid((1, size, size), None)
        assert Upscaler(_network(), grid, HU_WINDOW, Options(tile=tile)).together == 1


def test_where_several_slices_do_not_fit_they_are_done_one_by_one() -> None:
    values = np.random.default_rng(0).normal(0, 300, (5, 40, 36)).astype(np.float32)
    model, asked = _network(), []

    def starved(_: torch.nn.Module, arguments: tuple[torch.Tensor, Grid]) -> None:
        asked.append(len(arguments[0]))
        if asked[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    result = upscale_volume(_volume(values), Target.of(scale=2), model, CARD, "")
    wanted = result.array
    model.register_forward_pre_hook(starved)
    result = upscale_volume(_volume(values), Target.of(scale=2), model, CARD, "")
    np.testing.assert_allclose(result.array, wanted, atol=0.01)
    assert asked == [1, 4, 1, 1, 1, 1]
    assert isinstance(result.slices, ComputedSlices)
    assert result.slices._upscaler.tile == 40


def test_float32_is_no_tensorfloat32_while_computing() -> None:
    before = torch.backends.cudnn.allow_tf32
    with computing(torch.device("cpu"), torch.float32):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 is before


def test_a_volume_is_computed_where_it_was_asked_to_be_whoever_shares_its_network() -> None:
    model = _network()
    result = upscale_volume(_volume(NOISE), Target.of(scale=2), model, CARD, "")
    model.to("meta")
    with pytest.raises(NotImplementedError):
        _ = result.slices[0]  # It was moved back, though this place keeps no numbers.


def test_a_network_made_in_inference_mode_works() -> None:
    with torch.inference_mode():
        model = _network()
        result = upscale_volume(_volume(NOISE), Target.of(scale=2), model, CARD, "")
        assert result.array.shape == (2, 120, 104)


def test_reading_is_lazy() -> None:
    asked: list[int] = []

    class Counting(ArraySlices):
        def __getitem__(self, k: int) -> Slice:
            asked.append(k)
            return super().__getitem__(k)

    volume = Volume(Geometry((2, 60, 52), (1.0, 1.0, 1.0)), Counting(NOISE), "CT", "HU")
    result = upscale_volume(volume, Target.of(scale=2), load("bilinear")[0], CARD, "")
    assert asked == []
    _ = result.slices[1]
    assert asked == [1]
