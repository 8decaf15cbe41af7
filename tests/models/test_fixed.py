"""Networks of one whole scale on any grid: placed right, untouched at their own scale, the right member of a family."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import model_questions as helpers
import numpy as np
import pytest
import torch

from mesr.errors import UsageError, WeightsError
from mesr.grid import Axis, Grid, Target
from mesr.models import build, fixed, weights
from mesr.models.family import Family, at_one_scale, join
from mesr.models.fixed import onto, refined

SMALL = {"blocks": 1, "features": 8}
EDGE = 4
"""Input pixels at a border that interpolation sees less than the whole kernel in."""


def _ramp(size: int, factor: int) -> torch.Tensor:
    """(size·factor, size·factor): at each fine pixel, the input coordinate of its centre along the rows."""
    coordinates = (torch.arange(size * factor, dtype=torch.float64) + 0.5) / factor - 0.5
    return coordinates[:, None].expand(-1, size * factor)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("scale", ["1.1", "1.5", "2", "2.5", "3", "3.7", "4"])
def test_every_pixel_lands_at_its_own_coordinate(factor: int, scale: str) -> None:
    """A ramp that holds its coordinate gives, on any grid, the grid's coordinates: no shift of even a hundredth."""
    axis = Axis.scaled(24, Fraction(scale))
    found = onto(_ramp(24, factor), factor, Grid.plane(axis, axis))[:, axis.size_out // 2].numpy()
    expected = axis.coordinates()
    inside = (expected > EDGE) & (expected < 23 - EDGE)
    assert np.abs(found - expected)[inside].max() < 0.01


@pytest.mark.parametrize("factor", [2, 3])
def test_a_kept_spacing_and_a_window_are_placed_right(factor: int) -> None:
    exact = Axis.spaced(24, Fraction("0.7"), Fraction("0.31"), exact=True)
    window = Axis.scaled(40, Fraction("2.5")).window(30, 60, 6, 30)
    for axis in (exact, window):
        found = onto(_ramp(24, factor), factor, Grid.plane(axis, axis))[:, 9].numpy()
        expected = axis.coordinates()
        inside = (expected > EDGE) & (expected < 23 - EDGE)
        assert inside.sum() > 10
        assert np.abs(found - expected)[inside].max() < 0.01


def test_the_finer_axis_keeps_the_field_of_view() -> None:
    whole = refined(Axis.sized(7, 21), 3)
    assert whole.is_identity
    assert refined(Axis.identity(7), 2) == Axis.sized(14, 7)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_at_its_own_scale_nothing_is_resized(scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> torch.Tensor:
        raise AssertionError("resized")

    monkeypatch.setattr(fixed, "resize", never)
    model = helpers.made("edsr", SMALL | {"scale": scale})
    axis = Axis.sized(40, 40 * scale)
    image = torch.rand(1, 1, 40, 40)
    with torch.inference_mode():
        whole = model(image, Grid.plane(axis, axis))
        part = axis.window(15 * scale, 25 * scale, 5, 35)
        tile = model(image[..., 5:35, 5:35], Grid.plane(part, part))
    inner = slice(15 * scale, 25 * scale)
    torch.testing.assert_close(tile, whole[..., inner, inner], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("scale", "member"),
    [("1", 2), ("1.3", 2), ("2", 2), ("2.5", 3), ("3", 3), ("3.5", 4), ("4", 4), ("1.3x2.2", 3), ("5", 4)],
)
def test_the_next_whole_scale_answers(scale: str, member: int) -> None:
    family = build({"name": "family", "args": {"architecture": "edsr", "args": SMALL}})
    assert isinstance(family, Family)
    assert family.member(Target.of(scale=scale).grid((1, 40, 40), None)).scale == member


def test_a_rounded_size_does_not_call_the_next_member() -> None:
    """A spacing that is met to the nearest pixel makes 1001 of 500: ×2.002, which ×2 serves."""
    family = build({"name": "family", "args": {"architecture": "edsr", "args": SMALL}})
    assert isinstance(family, Family)
    axis = Axis.sized(500, 1001)
    assert family.member(Grid.plane(axis, axis)).scale == 2


def test_trained_members_join_into_one_file(tmp_path: Path) -> None:
    specs = [{"name": "edsr", "args": SMALL | {"scale": scale}} for scale in (3, 2)]
    torch.manual_seed(5)
    models = [build(spec).eval() for spec in specs]
    spec, family = join(list(zip(specs, models, strict=True)))
    weights.save(tmp_path / "family.safetensors", "edsr-family", spec, family.state_dict(), {})
    again, _ = weights.load(tmp_path / "family.safetensors")
    image = helpers.plane(16, 18, "2")
    for scale, model in (("3", models[0]), ("2.5", models[0]), ("2", models[1])):
        assert torch.equal(helpers.run(again, image, scale), helpers.run(model, image, scale))
    assert again.parameter_count == sum(model.parameter_count for model in models)


def test_what_interpolates_first_joins_at_the_scale_it_knows(tmp_path: Path) -> None:
    spec = {"name": "srcnn", "args": {"features": 8}}
    torch.manual_seed(6)
    model = build(spec).eval()
    torch.nn.init.normal_(model.last.weight, std=0.05)
    joined, family = join([at_one_scale(spec, model, 2)])
    weights.save(tmp_path / "family.safetensors", "srcnn-family", joined, family.state_dict(), {})
    again, _ = weights.load(tmp_path / "family.safetensors")
    image = helpers.plane(16, 18, "2")
    own = helpers.run(model, image, "2")
    assert torch.equal(helpers.run(again, image, "2"), own)
    assert again.receptive_field is None
    target = Target.of(scale="1.5").grid((1, *image.shape[2:]), None)
    found = helpers.run(again, image, "1.5")
    torch.testing.assert_close(found, onto(own, 2, target))
    assert not torch.allclose(found, helpers.run(model, image, "1.5"), atol=1e-3)


def test_what_is_built_for_one_scale_joins_as_it_is() -> None:
    spec = {"name": "edsr", "args": SMALL | {"scale": 2}}
    model = build(spec)
    assert at_one_scale(spec, model, 2) == (spec, model)
    with pytest.raises(UsageError):
        build({"name": "at-one-scale", "args": {"architecture": "at-one-scale"}})


def test_strangers_do_not_join() -> None:
    pair = [({"name": "edsr", "args": SMALL | {"scale": 2}}, build({"name": "edsr", "args": SMALL}))] * 2
    with pytest.raises(UsageError, match="another scale"):
        join(pair)
    with pytest.raises(UsageError, match="one architecture"):
        join([pair[0], ({"name": "edsr", "args": {"scale": 3}}, pair[0][1])])


@pytest.mark.parametrize(
    "args",
    [{"architecture": "family"}, {"architecture": "mesr"}, {"members": []}, {"members": [2, 7]}],
)
def test_a_family_is_of_networks_of_one_scale(args: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        build({"name": "family", "args": args})


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "family", "args": {"architecture": "edsr", "args": {"blocks": 10**9}}},
        {"name": "rdn", "args": {"blocks": 4000, "layers": 4000}},
        {"name": "family", "args": {"architecture": "rdn", "args": {"blocks": 4000, "layers": 4000}}},
    ],
)
def test_a_file_cannot_ask_for_a_network_beyond_measure(tmp_path: Path, spec: dict[str, object]) -> None:
    path = tmp_path / "lie.safetensors"
    weights.save(path, "lie", spec, {"x": torch.zeros(1)}, {})
    with pytest.raises(WeightsError, match="size above"):
        weights.load(path)
