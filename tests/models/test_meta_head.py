"""The fast forms of the head equal its reference form."""

from __future__ import annotations

import math
from contextlib import nullcontext
from fractions import Fraction
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import torch

from mesr.grid import Axis, Grid
from mesr.models.meta_head import MAX_PHASES, MOST_KEPT, Coordinates, MetaHead, sources
from mesr.models.polyphase import runs

SCALES = [
    "1", "1.01", "1.05", "1.1", "1.2", "1.25", "1.3", "4/3", "1.37", "1.4", "1.5", "1.6", "5/3", "1.7", "1.75", "1.8",
    "1.9", "2", "2.1", "2.2", "2.25", "7/3", "2.5", "2.6", "8/3", "2.7", "2.75", "3", "3.1", "3.14159265358979", "3.2",
    "3.25", "3.3", "10/3", "3.5", "3.7", "3.75", "3.9", "3.99", "4",
]  # fmt: skip


def _head(coordinates: Coordinates, seed: int = 0) -> tuple[MetaHead, torch.Tensor]:
    torch.manual_seed(seed)
    head = MetaHead(features=16, hidden=32, coordinates=coordinates)
    features = torch.randn(2, 16, 23, 17)
    # Outputs that reach as far as the window, so that the tolerance means what it says.
    with torch.no_grad():
        whole = head(features, Axis.scaled(23, Fraction(2)), Axis.scaled(17, Fraction(2)), "reference")
        head.outer.weight /= whole.abs().max()
        head.outer.bias /= whole.abs().max()
    return head, features


@pytest.mark.parametrize("coordinates", ["nearest", "below", "corner"])
@pytest.mark.parametrize("scale", SCALES)
def test_fast_forms_equal_the_reference_at_forty_scales(coordinates: Coordinates, scale: str) -> None:
    assert len(SCALES) == 40
    head, features = _head(coordinates)
    for height, width in ((23, 17), (20, 10), (7, 5), (1, 2)):
        part = features[..., :height, :width]
        rows, columns = Axis.scaled(height, Fraction(scale)), Axis.scaled(width, Fraction(scale))
        _agree(head, part, rows, columns)


@pytest.mark.parametrize(
    "scales", [("1.3", "2.2"), ("4", "1"), ("1.5", "3"), ("3.14159265358979", "2"), ("2.5", "3.7")]
)
def test_fast_forms_equal_the_reference_at_per_axis_scales(scales: tuple[str, str]) -> None:
    head, features = _head("nearest", 1)
    _agree(head, features, Axis.scaled(23, Fraction(scales[0])), Axis.scaled(17, Fraction(scales[1])))


def test_fast_forms_equal_the_reference_on_an_exact_spacing() -> None:
    head, features = _head("nearest", 2)
    rows = Axis.spaced(23, Fraction("0.7"), Fraction("0.3"), exact=True)
    columns = Axis.spaced(17, Fraction("0.7"), Fraction("0.31"), exact=True)
    _agree(head, features, rows, columns)


def _agree(head: MetaHead, features: torch.Tensor, rows: Axis, columns: Axis) -> None:
    with torch.no_grad():
        expected = head(features, rows, columns, "reference")
        phases = rows.step.denominator * columns.step.denominator
        # The polyphase form is never taken, and very slow, where more kernels than that occur.
        for form in ("reassociated", "polyphase")[: 2 if phases <= MAX_PHASES else 1]:
            for compiled in (True, False):
                with nullcontext() if compiled else patch("mesr.kernels.winograd.suits", return_value=False):
                    found = head(features, rows, columns, form)
                assert found.shape == expected.shape
                assert (found - expected).abs().max() < 1e-5, (form, compiled)


def test_a_band_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    head, features = _head("nearest", 3)
    rows, columns = Axis.scaled(23, Fraction("3.7")), Axis.scaled(17, Fraction("3.7"))
    with torch.no_grad():
        whole = head(features, rows, columns, "reassociated")
        monkeypatch.setattr("mesr.models.reassociated.BAND_BYTES", 1)
        banded = head(features, rows, columns, "reassociated")
    torch.testing.assert_close(banded, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", ["1.5", "2.5", "1.3"])
def test_ties_make_two_periodic_runs_that_cover_the_axis(scale: str) -> None:
    axis = Axis.scaled(40, Fraction(scale))
    found = runs(axis, sources(axis, "nearest"))
    assert [found[0].start, found[-1].stop] == [0, axis.size_out]
    assert all(a.stop == b.start for a, b in pairwise(found))
    assert len(found) == 2


def test_kernels_are_kept_for_the_slices_and_tiles_of_a_scale_until_the_perceptron_changes() -> None:
    head, features = _head("nearest")
    head.requires_grad_(False)
    axis, columns = (Axis.scaled(size, Fraction(3)) for size in features.shape[2:])
    with torch.no_grad(), patch.object(head, "kernels", wraps=head.kernels) as made:
        first = head(features, axis, columns, "polyphase")
        count = made.call_count
        assert torch.equal(head(features, axis, columns, "polyphase"), first)
        assert made.call_count == count
        head.outer.bias.mul_(2)
        changed = head(features, axis, columns, "polyphase")
        assert made.call_count == 2 * count
    torch.testing.assert_close(changed, head(features, axis, columns, "reference"), atol=1e-5, rtol=0)
    assert not torch.allclose(changed, first, atol=1e-3)


def test_no_more_kernels_are_kept_than_a_few_scales_need() -> None:
    head = MetaHead(16, 16).requires_grad_(False)
    axis = Axis.scaled(2, Fraction(2))
    with torch.no_grad():
        for offset in np.linspace(-0.5, 0.5, 2 * MOST_KEPT):
            head._kept_kernels(axis, axis, np.array([offset]), np.array([0.0]))
    assert len(head._kept) == MOST_KEPT


def test_kernels_of_a_head_in_training_are_made_anew() -> None:
    """A fused optimiser changes weights in place and leaves their version as it was."""
    head, features = _head("nearest")
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1, fused=True)
    axes = [Axis.scaled(size, Fraction(2)) for size in features.shape[2:]]
    with torch.no_grad():
        before = head(features, *axes, "polyphase")
    head(features, *axes).square().mean().backward()
    optimiser.step()
    with torch.no_grad():
        after = head(features, *axes, "polyphase")
        torch.testing.assert_close(after, head(features, *axes, "reference"), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(before, after, atol=1e-3)


def test_gradients_reach_every_parameter_and_the_features() -> None:
    head, features = _head("nearest", 4)
    features.requires_grad_()
    head(
        features, Axis.scaled(23, Fraction("1.7")), Axis.scaled(17, Fraction("2.9"))
    ).square().sum().backward()
    for parameter in (*head.parameters(), features):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_training_and_inference_take_forms_that_agree() -> None:
    head, features = _head("nearest", 5)
    rows, columns = Axis.scaled(23, Fraction(2)), Axis.scaled(17, Fraction(2))
    trained = head(features, rows, columns).detach()
    with torch.inference_mode():
        torch.testing.assert_close(head(features, rows, columns), trained, atol=1e-5, rtol=0)


def test_grid_type_carries_both_axes() -> None:
    grid = Grid.plane(Axis.scaled(23, Fraction(2)), Axis.scaled(17, Fraction(3)))
    assert grid.scale == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("coordinates", ["nearest", "below", "corner"])
def test_kernels_depend_on_the_offset_from_the_start(coordinates: Coordinates) -> None:
    """Every hidden value is silent on one side of a line that crosses the square of offsets, and not on the other."""
    torch.manual_seed(0)
    head = MetaHead(features=16, hidden=256, coordinates=coordinates)
    first = -0.5 if coordinates == "nearest" else 0.0
    inputs = torch.cat([first + torch.rand(4096, 2), 0.25 + 0.75 * torch.rand(4096, 2)], dim=1)
    with torch.no_grad():
        awake = (head.inner(inputs) > 0).float().mean(dim=0)
        kernels = head.outer(torch.relu(head.inner(inputs)))
    assert float(((awake > 0.001) & (awake < 0.999)).float().mean()) > 0.95
    # Small beside the 1 / √(9·16) of a kernel of unit gain, and not the same everywhere.
    assert 0.02 < float(kernels.std()) * math.sqrt(9 * 16) < 0.2
    assert float(kernels.std(dim=0).mean()) > 0.2 * float(kernels.std())


@pytest.mark.parametrize("scale", ["2", "2.5"])
def test_gradients_pass_a_frozen_head_to_the_features(scale: str) -> None:
    """As the reference form gives them, whichever form a network that learns below a frozen head takes."""
    torch.manual_seed(0)
    head = MetaHead(16, 32).requires_grad_(False)
    axis = Axis.scaled(24, Fraction(scale))
    weight = torch.rand(axis.size_out, axis.size_out)
    found = []
    for form in (None, "reference"):
        features = torch.rand(1, 16, 24, 24, generator=torch.Generator().manual_seed(1)).requires_grad_()
        (head(features, axis, axis, form)[0, 0] * weight).sum().backward()
        assert features.grad is not None
        found.append(features.grad)
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)
