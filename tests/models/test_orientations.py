"""A network that sees its image in several orientations: their mean, encoded once, tiled and cut like any other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from mesr.encoded import EncodedSlice, Region
from mesr.errors import UsageError
from mesr.grid import Axis, Grid
from mesr.inference import Options, Upscaler
from mesr.intensity import HU_WINDOW
from mesr.models import SuperResolver, build
from mesr.models.ensemble import SelfEnsemble
from mesr.models.orientations import ORIENTATIONS
from mesr.volume import Slice

SCALES = [("2", "2"), ("1.3", "2.2"), ("3.7", "3.7")]


def _network(orientations: int, **args: object) -> SuperResolver:
    torch.manual_seed(0)
    spec = {"blocks": 1, "features": 16, "hidden": 16, "orientations": orientations} | args
    return build({"name": "mesr", "args": spec}).eval()


def _grid(height: int, width: int, down: str, across: str) -> Grid:
    return Grid.plane(Axis.scaled(height, Fraction(down)), Axis.scaled(width, Fraction(across)))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_orientation_is_undone_by_its_way_back(orientation) -> None:
    image = torch.rand(2, 3, 5, 4).to(memory_format=torch.channels_last)
    turned = orientation.of(image)
    assert turned.shape == ((2, 3, 4, 5) if orientation.turned else (2, 3, 5, 4))
    assert torch.equal(orientation.back(turned), image)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize(("down", "across"), SCALES)
def test_the_answer_is_the_mean_over_the_first_orientations(count: int, down: str, across: str) -> None:
    alone, several = _network(1), _network(count)
    several.load_state_dict(alone.state_dict())
    lr, grid = torch.rand(1, 1, 12, 9), _grid(12, 9, down, across)
    with torch.inference_mode():
        answers = [one.back(alone(one.of(lr), one.grid(grid))) for one in ORIENTATIONS[:count]]
        found = several(lr, grid)
        torch.testing.assert_close(several.decode(several.encode(lr), grid), found, atol=1e-6, rtol=0)
        turned = several(lr.flip(2, 3), grid).flip(2, 3)
    torch.testing.assert_close(found, torch.stack(answers).mean(dim=0), atol=1e-6, rtol=0)
    assert (answers[0] - found).abs().max() > 1e-4
    torch.testing.assert_close(turned, found, atol=1e-6, rtol=0)


def test_all_eight_are_the_self_ensemble() -> None:
    alone, several = _network(1), _network(8)
    several.load_state_dict(alone.state_dict())
    lr, grid = torch.rand(1, 1, 10, 10), _grid(10, 10, "2.5", "2.5")
    with torch.inference_mode():
        torch.testing.assert_close(several(lr, grid), SelfEnsemble(alone)(lr, grid), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("down", "across"), SCALES)
def test_tiles_and_parts_are_those_of_the_whole(down: str, across: str) -> None:
    model = _network(4, corrections=1)
    values = np.random.default_rng(0).normal(0, 300, (40, 36)).astype(np.float32)
    grid = _grid(40, 36, down, across)
    whole, tiled = (
        Upscaler(model, grid, HU_WINDOW, Options("cpu", "float32", tile)).compute(values) for tile in (64, 16)
    )
    np.testing.assert_allclose(tiled, whole, atol=0.01)
    encoded = EncodedSlice(model, Slice(values), HU_WINDOW, "HU", Options("cpu", "float32"))
    region = Region(3, 30, 5, 41)
    np.testing.assert_allclose(encoded.exact(grid, region).values, whole[3:30, 5:41], atol=0.01)


def test_it_learns_with_all_of_them() -> None:
    model = _network(2).train()
    lr, grid = torch.rand(2, 1, 8, 8), _grid(8, 8, "2", "2")
    model(lr, grid).square().mean().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in model.parameters())


@pytest.mark.parametrize("count", [0, 3, 16])
def test_other_counts_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="1, 2, 4 or 8"):
        _network(count)
