"""The discriminator: its published size, any patch, and a critic fit for the gradient penalty."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from mesr.models.discriminator import Discriminator

_WIDTHS = (1, 64, 64, 128, 128, 256, 256, 512, 512)


def test_its_size_is_the_published_one() -> None:
    """Eight convolutions from 64 to 512 channels, dense layers of 1024 and 1 over 6 × 6 cells of a patch of 96."""
    with torch.device("meta"):
        published = Discriminator()
        assert published.cells(published.convolutions(torch.empty(2, 1, 96, 96))).shape == (2, 512, 6, 6)
    weights = {name: p.numel() for name, p in published.named_parameters() if p.ndim > 1}
    convolutions = [9 * n * m for n, m in pairwise(_WIDTHS)]
    assert list(weights.values()) == [*convolutions, 512 * 36 * 1024, 1024]


@pytest.mark.parametrize("side", [20, 48, 96, 133])
def test_a_patch_of_any_size_gets_one_score(side: int) -> None:
    model = Discriminator(features=4, dense=8, cells=2, batch_norm=False)
    assert model(torch.rand(3, 1, side, side + 5)).shape == (3,)


def test_a_critic_judges_each_image_by_itself() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 1, 32, 32)
    for batch_norm in (False, True):
        model = Discriminator(features=4, dense=8, cells=2, batch_norm=batch_norm)
        alone = bool(torch.isclose(model(images)[:2], model(images[:2]), atol=1e-6).all())
        assert alone is not batch_norm


def test_the_gradient_penalty_has_a_gradient() -> None:
    torch.manual_seed(0)
    model = Discriminator(features=4, dense=8, cells=2, batch_norm=False)
    image = torch.rand(2, 1, 32, 32, requires_grad=True)
    (slope,) = torch.autograd.grad(model(image).sum(), image, create_graph=True)
    (slope.flatten(1).norm(dim=1) - 1).square().mean().backward()
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
