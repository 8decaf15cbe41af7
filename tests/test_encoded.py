"""A slice encoded once: its parts against the whole slices that are written to files, and the fractions near a scale."""

from __future__ import annotations

from fractions import Fraction

import model_questions
import numpy as np
import pytest
import torch

from mesr.encoded import EncodedSlice, Region, nearby, nearest_half
from mesr.geometry import Geometry
from mesr.grid import Grid, Target
from mesr.inference import Options, upscale_volume
from mesr.intensity import HU_WINDOW
from mesr.models import SuperResolver, build
from mesr.models.contract import Encoded
from mesr.models.weights import Card, load
from mesr.volume import ArraySlices, Slice, Volume

SIZE = (60, 52)
NOISE = np.random.default_rng(0).normal(0, 300, SIZE).astype(np.float32)
PART = Region(17, 61, 30, 77)
EXACT = Options("cpu", "float32")


def _network(**args: object) -> SuperResolver:
    torch.manual_seed(1)
    spec = {"blocks": 2, "features": 8, "hidden": 16} | args
    return build({"name": "mesr", "args": spec}).eval().requires_grad_(False)


def _grid(scale: str) -> Grid:
    return Target.of(scale=scale).grid((1, *SIZE), None)


def _whole(model: SuperResolver, scale: str, padding: np.ndarray | None = None) -> Slice:
    """The slice as it is written to a file."""

    class Padded(ArraySlices):
        def __getitem__(self, k: int) -> Slice:
            return Slice(super().__getitem__(k).values, padding)

    volume = Volume(Geometry((1, *SIZE), (1.0, 1.0, 1.0)), Padded(NOISE[None]), "CT", "HU")
    card = Card("any", {}, "0" * 64, {})
    return upscale_volume(volume, Target.of(scale=scale), model, card, "", EXACT).slices[0]


def _encoded(
    model: SuperResolver, padding: np.ndarray | None = None, tile: int | None = None
) -> EncodedSlice:
    options = Options("cpu", "float32", tile)
    return EncodedSlice(model, Slice(NOISE, padding), HU_WINDOW, "HU", options)


@pytest.mark.parametrize("corrections", [0, 2])
@pytest.mark.parametrize("scale", ["1", "1.5", "2", "2.37", "1.7x2.2"])
def test_a_part_decoded_exactly_is_the_same_part_of_the_whole_slice(scale: str, corrections: int) -> None:
    model = _network(corrections=corrections)
    whole, part = _whole(model, scale).values, Region(11, 47, 13, 50)
    found = _encoded(model).exact(_grid(scale), part).values
    np.testing.assert_allclose(found, whole[11:47, 13:50], atol=0.01)


@pytest.mark.parametrize("system", model_questions.SYSTEMS, ids=model_questions.named)
def test_a_part_of_any_model_is_the_part_of_its_whole(system: tuple[str, dict[str, object]]) -> None:
    model = model_questions.made(*system)
    model_questions.lets_everything_through(model)
    whole = _whole(model, "2").values
    found = _encoded(model).exact(_grid("2"), PART).values
    np.testing.assert_allclose(found, whole[17:61, 30:77], atol=1e-4 * np.abs(whole).max())


@pytest.mark.parametrize("name", ["nearest", "sinc", "bspline3", "backprojection"])
def test_a_part_of_an_interpolation_is_the_part_of_its_whole(name: str) -> None:
    model = load(name)[0]
    found = _encoded(model).exact(_grid("2.37"), PART).values
    np.testing.assert_allclose(found, _whole(model, "2.37").values[17:61, 30:77], atol=0.01)


def test_a_draft_differs_from_the_exact_part_by_the_last_step_alone() -> None:
    plain, corrected = _encoded(_network()), _encoded(_network(corrections=2))
    draft = corrected.draft(_grid("2"), PART).values
    np.testing.assert_allclose(draft, plain.exact(_grid("2"), PART).values, atol=0.01)
    assert np.abs(draft - corrected.exact(_grid("2"), PART).values).max() > 1


def test_the_features_of_tiles_are_those_of_the_whole() -> None:
    model = _network()
    found = _encoded(model, tile=16).exact(_grid("2.5"), PART).values
    np.testing.assert_allclose(found, _encoded(model).exact(_grid("2.5"), PART).values, atol=0.01)


def test_the_features_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _network()
    encoded = _encoded(model)
    monkeypatch.setattr(model, "encode", lambda _: pytest.fail("encoded again"))
    for scale in ("2", "2.37", "3"):
        encoded.exact(_grid(scale), PART)
    assert encoded.bytes == 4 * 60 * 52 * (1 + 8 + 16 + 1)


def _starved_beyond(monkeypatch: pytest.MonkeyPatch, model: SuperResolver, name: str, most: int) -> list[int]:
    """Let a method of a model run out of memory on more than `most` rows of input or result; the rows of each call."""
    asked: list[int] = []
    method = getattr(model, name)

    def starved(seen: torch.Tensor | Encoded, *grid: Grid) -> object:
        asked.append(grid[0].rows.size_out if grid else seen.shape[2])
        if asked[-1] > most:
            raise torch.OutOfMemoryError("out of memory")
        return method(seen, *grid)

    monkeypatch.setattr(model, name, starved)
    return asked


@pytest.mark.parametrize(("name", "first", "most"), [("encode", 60, 40), ("decode", 44, 15)])
def test_what_does_not_fit_is_done_in_smaller_parts(
    monkeypatch: pytest.MonkeyPatch, name: str, first: int, most: int
) -> None:
    wanted = _encoded(_network()).exact(_grid("2.5"), PART).values
    monkeypatch.setattr("mesr.memory.LEAST_TILE", 8)
    model = _network()
    asked = _starved_beyond(monkeypatch, model, name, most)
    found = _encoded(model).exact(_grid("2.5"), PART).values
    assert asked[0] == first
    assert min(asked) <= most
    np.testing.assert_allclose(found, wanted, atol=0.01)


@pytest.mark.parametrize("name", ["encode", "decode", "finish"])
def test_what_fits_nowhere_is_out_of_memory(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model = _network(corrections=1)
    if name == "finish":
        monkeypatch.setattr(model, name, _out_of_memory)
    else:
        _starved_beyond(monkeypatch, model, name, 0)
    with pytest.raises(MemoryError):
        _encoded(model).exact(_grid("2.5"), PART)


def _out_of_memory(*_: object) -> torch.Tensor:
    raise torch.OutOfMemoryError("out of memory")


def test_features_do_without_what_is_kept_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _network()
    monkeypatch.setattr(model, "prepared", _out_of_memory)
    assert _encoded(model).bytes == 4 * 60 * 52 * (1 + 8)


def test_what_is_kept_beside_the_features_changes_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = _encoded(_network()).exact(_grid("2.37"), PART).values
    monkeypatch.setattr("mesr.encoded.MAX_PREPARED_FEATURES", 0)
    plain = _encoded(_network())
    assert plain.bytes == 4 * 60 * 52 * (1 + 8)
    np.testing.assert_allclose(plain.exact(_grid("2.37"), PART).values, kept, atol=0.01)


def test_padding_is_put_back_in_a_part_as_in_the_whole() -> None:
    padding = np.zeros(SIZE, dtype=bool)
    padding[:30, :20] = True
    whole = _whole(_network(), "2.5", padding)
    part = _encoded(_network(), padding).exact(_grid("2.5"), PART)
    assert whole.padding is not None
    assert part.padding is not None
    assert part.padding.any()
    assert np.array_equal(part.padding, whole.padding[17:61, 30:77])
    np.testing.assert_allclose(part.values, whole.values[17:61, 30:77], atol=0.01)


def test_what_is_interpolated_is_bicubic_on_the_same_pixels() -> None:
    bicubic = load("bicubic")[0]
    found = _encoded(_network()).interpolated(_grid("2.37"), PART)
    np.testing.assert_allclose(found, _whole(bicubic, "2.37").values[17:61, 30:77], atol=0.01)


@pytest.mark.parametrize("scale", ["1", "1.37", "2", "2.37", "3.87", "1.3x2.2"])
def test_a_nearby_grid_shows_the_same_field_of_view_at_halves(scale: str) -> None:
    grid = _grid(scale)
    near = nearby(grid)
    for axis, other in ((grid.rows, near.rows), (grid.columns, near.columns)):
        assert other.step.numerator in (1, 2)
        assert (2 * other.scale).denominator == 1
        assert abs(axis.scale - other.scale) <= Fraction(1, 4)
        assert abs(axis.size_out / axis.scale - other.size_out / other.scale) <= 1 / other.scale
        assert other.centre == axis.centre


def test_a_nearby_grid_is_no_finer_than_the_screen() -> None:
    assert nearby(_grid("3.87"), finest=1.35).rows.scale == Fraction(3, 2)
    assert nearby(_grid("1.2"), finest=3.0).rows.scale == 1
    assert nearby(_grid("3"), finest=0.4).rows.scale == 1


def test_halves_are_the_nearest_there_are() -> None:
    for hundredths in range(100, 401):
        scale = Fraction(hundredths, 100)
        assert abs(nearest_half(scale) - scale) <= Fraction(1, 4), float(scale)
        assert (2 * nearest_half(scale)).denominator == 1
    assert nearest_half(Fraction("9.8")) == 10
    assert nearest_half(Fraction(2, 5)) == Fraction(1, 2)


def test_a_region_covers_what_is_seen_of_the_input() -> None:
    grid = _grid("2")
    assert Region.over(grid, 0, 60, 0, 52) == Region.whole(grid) == Region(0, 120, 0, 104)
    top, bottom, left, right = Region.over(grid, 10, 20.5, 30, 31)
    assert top <= 20
    assert bottom >= 41
    assert left <= 60
    assert right >= 62
    assert bottom - top < 26
    assert right - left < 6
    assert Region.over(grid, 1000, 2000, -50, -40) == Region(119, 120, 0, 1)
