"""The self-ensemble is the mean over eight orientations, and so treats all of them alike."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from mesr.grid import Axis, Grid
from mesr.inference import Options, Upscaler
from mesr.intensity import HU_WINDOW
from mesr.models import build
from mesr.models.ensemble import SelfEnsemble


def _network(coordinates: str = "nearest") -> SelfEnsemble:
    torch.manual_seed(0)
    args = {"blocks": 1, "features": 16, "hidden": 16, "coordinates": coordinates, "corrections": 1}
    return SelfEnsemble(build({"name": "mesr", "args": args}).eval())


def _grid(height: int, width: int, down: str, across: str) -> Grid:
    return Grid.plane(Axis.scaled(height, Fraction(down)), Axis.scaled(width, Fraction(across)))


@pytest.mark.parametrize("coordinates", ["nearest", "below"])
@pytest.mark.parametrize(("down", "across"), [("2", "2"), ("1.5", "1.5"), ("1.3", "2.2")])
def test_a_turned_image_gives_the_turned_result(coordinates: str, down: str, across: str) -> None:
    model = _network(coordinates)
    lr = torch.rand(1, 1, 12, 9)
    with torch.inference_mode():
        upright = model.whole(lr, _grid(12, 9, down, across))
        turned = model.whole(lr.mT.contiguous(), _grid(9, 12, across, down)).mT
        mirrored = model.whole(lr.flip(3), _grid(12, 9, down, across)).flip(3)
    torch.testing.assert_close(turned, upright, atol=1e-6, rtol=0)
    torch.testing.assert_close(mirrored, upright, atol=1e-6, rtol=0)


def test_it_is_the_mean_of_the_networks_eight_answers() -> None:
    model = _network()
    lr, grid = torch.rand(1, 1, 10, 10), _grid(10, 10, "2.5", "2.5")
    answers: list[Tensor] = []
    with torch.inference_mode():
        for quarters in range(4):
            for flip in ([], [3]):
                asked = lr.rot90(quarters, (2, 3)).flip(flip)
                answers.append(model.network(asked, grid).flip(flip).rot90(-quarters, (2, 3)))
        found = model(lr, grid)
    torch.testing.assert_close(found, torch.stack(answers).mean(dim=0), atol=1e-6, rtol=0)
    assert (answers[0] - found).abs().max() > 1e-4


def test_tiles_give_what_a_whole_slice_gives() -> None:
    values = np.random.default_rng(0).normal(0, 300, (40, 36)).astype(np.float32)
    grid = _grid(40, 36, "1.5", "1.5")
    whole, tiled = (
        Upscaler(_network(), grid, HU_WINDOW, Options(precision="float32", tile=tile)).compute(values)
        for tile in (4096, 17)
    )
    np.testing.assert_allclose(tiled, whole, atol=2e-3)


def test_a_mirrored_axis_holds_the_same_places_from_the_other_end() -> None:
    whole = Axis.spaced(23, Fraction("0.7"), Fraction("0.3"), exact=True)
    for axis in (whole, whole.window(5, 17, 1, 12)):
        mirrored = axis.mirrored()
        last = axis.size_in - 1
        places = [last - axis.coordinate(q) for q in reversed(range(axis.size_out))]
        assert [mirrored.coordinate(q) for q in range(axis.size_out)] == places
        assert mirrored.mirrored() == axis
