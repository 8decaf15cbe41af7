"""The questions every model is asked; a new one costs a line in `test_zoo.py`."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mesr.grid import Axis, Grid, Target
from mesr.inference import Options, Upscaler
from mesr.intensity import HU_WINDOW
from mesr.models import IntegerScales, SuperResolver, build
from mesr.models import weights as weights_files
from mesr.models.family import Family
from mesr.models.meta_head import MetaHead
from mesr.models.stems import DifferenceConv


def plane(height: int, width: int, scale: str) -> torch.Tensor:
    """A smooth image with an edge, in the network's range."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    image = torch.rand(1, 1, height, width, generator=generator) * 0.05
    image[..., height // 2 :, :] += 0.5
    return image


def run(model: SuperResolver, image: torch.Tensor, scale: str) -> torch.Tensor:
    """The model's answer at a scale."""
    grid = Target.of(scale=scale).grid((1, image.shape[2], image.shape[3]), None)
    with torch.inference_mode():
        return model(image, grid)


def answers_every_size(model: SuperResolver) -> None:
    """Any size, any scale: the shape the grid says, finite values."""
    for height, width, scale in (
        (1, 1, "2"),
        (3, 5, "1.37"),
        (17, 16, "2.5"),
        (9, 24, "1.3x2.2"),
        (16, 16, "1"),
    ):
        image = plane(height, width, scale)
        found = run(model, image, scale)
        grid = Target.of(scale=scale).grid((1, height, width), None)
        assert tuple(found.shape) == (1, 1, *grid.size_out[1:])
        assert found.dtype == torch.float32
        assert found.isfinite().all()


def encodes_once_for_every_scale(model: SuperResolver) -> None:
    """Decoding the same features twice equals running the model twice."""
    image = plane(16, 20, "2")
    with torch.inference_mode():
        encoded = model.encode(image)
        for scale in ("2", "3.5"):
            grid = Target.of(scale=scale).grid((1, 16, 20), None)
            torch.testing.assert_close(
                model.decode(encoded, grid), run(model, image, scale), atol=1e-6, rtol=0
            )


def comes_back_from_its_file_alone(name: str, args: dict[str, object], folder: Path) -> None:
    """Saved and loaded by path, the model gives the same image."""
    torch.manual_seed(0)
    model = build({"name": name, "args": args}).eval()
    path = folder / "some.safetensors"
    identity = weights_files.save(path, "some", {"name": name, "args": args}, model.state_dict(), {})
    again, card = weights_files.load(path)
    assert card.weights_id == identity
    image = plane(12, 13, "2.5")
    torch.testing.assert_close(run(again, image, "2.5"), run(model, image, "2.5"), atol=1e-6, rtol=0)


SYSTEMS: list[tuple[str, dict[str, Any]]] = [
    ("srcnn", {"features": 8}),
    ("vdsr", {"layers": 4, "features": 8}),
    ("srresnet", {"blocks": 1, "features": 8}),
    ("srresnet", {"blocks": 1, "features": 8, "scale": 4}),
    ("edsr", {"blocks": 1, "features": 8}),
    ("edsr", {"blocks": 1, "features": 8, "scale": 3}),
    ("rdn", {"blocks": 2, "layers": 2, "growth": 4, "features": 8}),
    ("srdensenet", {"blocks": 2, "layers": 2, "growth": 4, "bottleneck": 8}),
    ("srdensenet", {"blocks": 2, "layers": 2, "growth": 4, "bottleneck": 8, "scale": 4}),
    ("rrdb", {"blocks": 1, "features": 8, "growth": 4}),
    ("rrdb", {"blocks": 1, "features": 8, "growth": 4, "scale": 4}),
    ("meta-rdn", {"blocks": 2, "layers": 2, "growth": 4, "features": 8, "hidden": 16}),
    ("miassr", {"blocks": 1, "features": 8, "hidden": 16}),
    ("family", {"architecture": "edsr", "args": {"blocks": 1, "features": 8}, "members": [2, 3]}),
    ("at-one-scale", {"architecture": "vdsr", "args": {"layers": 3, "features": 8}}),
    ("mesr", {"blocks": 1, "features": 8, "hidden": 16}),
    ("mesr", {"blocks": 1, "features": 8, "hidden": 16, "stem": "gated"}),
    ("mesr", {"blocks": 1, "features": 8, "hidden": 16, "stem": "gated", "orientations": 4}),
    ("mesr", {"blocks": 1, "features": 8, "hidden": 16, "stem": "gated", "orientations": 8}),
    ("mesr-paper", {"blocks": 1, "features": 8, "hidden": 16}),
    ("mesr-shuffled", {"blocks": 1, "features": 8}),
    ("mesr-shuffled", {"blocks": 1, "features": 8, "scale": 3}),
    ("equal-fixed", {"architecture": "srresnet", "args": {"blocks": 1, "features": 8}}),
    ("equal-fixed", {"architecture": "edsr", "args": {"blocks": 1, "features": 8}}),
    ("equal-fixed", {"architecture": "rdn", "args": {"blocks": 2, "layers": 2, "growth": 4, "features": 8}}),
    (
        "equal-fixed",
        {"architecture": "srdensenet", "args": {"blocks": 2, "layers": 2, "growth": 4, "bottleneck": 8}},
    ),
    ("equal-fixed", {"architecture": "rrdb", "args": {"blocks": 1, "features": 8, "growth": 4}}),
    (
        "equal-any",
        {
            "architecture": "meta-rdn",
            "args": {"blocks": 2, "layers": 2, "growth": 4, "features": 8, "hidden": 16},
        },
    ),
    ("equal-any", {"architecture": "miassr", "args": {"blocks": 1, "features": 8, "hidden": 16}}),
    ("equal-any", {"architecture": "mesr-paper", "args": {"blocks": 1, "features": 8, "hidden": 16}}),
]
"""The systems of the paper's comparison in every form that a row of it has, small."""


def named(system: tuple[str, dict[str, Any]]) -> str:
    """A system among the tests, with what sets it apart: `edsr-3` for a scale that is not 2, `equal-fixed-rdn`."""
    name, args = system
    apart = [str(args[key]) for key in ("architecture", "stem", "scale") if key in args]
    return "-".join([name, *apart, *(["turned"] if "orientations" in args else [])])


def made(name: str, args: Mapping[str, Any]) -> SuperResolver:
    """The system with weights that are the same every time, in evaluation mode."""
    torch.manual_seed(0)
    return build({"name": name, "args": args}).eval()


def own_scale(model: SuperResolver) -> int:
    """A whole scale that the model is for."""
    return min(model.scales.scales) if isinstance(model.scales, IntegerScales) else 2


def tiles_give_the_whole(model: SuperResolver, scale: str) -> None:
    """Tiles of eleven pixels with their halo equal the whole slice, for weights that let the whole field through."""
    lets_everything_through(model)
    values = np.random.default_rng(0).uniform(-1000, 1000, (44, 37)).astype(np.float32)
    grid = Target.of(scale=scale).grid((1, 44, 37), None)
    whole, tiled = (
        Upscaler(model, grid, HU_WINDOW, Options("cpu", "float32", tile)).compute(values) for tile in (44, 11)
    )
    assert np.abs(whole - tiled).max() < 1e-4 * np.abs(whole - whole.mean()).max()


def furthest_input(model: SuperResolver, scale: str, size: int = 47) -> int:
    """How far, from the pixel nearest to it, an output is changed by an input: the receptive field, measured."""
    lets_everything_through(model)
    axis = Axis.scaled(size, Fraction(scale))
    image = torch.zeros(1, 1, size, size)
    image[..., size // 2, size // 2] = 1.0
    with torch.inference_mode():
        changed = model(image, Grid.plane(axis, axis))[0, 0] != 0
    nearest = torch.from_numpy(axis.nearest().pixel)
    return max(int((nearest[changed.any(dim=other)] - size // 2).abs().max()) for other in (0, 1))


def lets_everything_through(model: SuperResolver) -> None:
    """Weights above zero and no biases: nothing cancels, no unit is dead, and an image of zeros gives zeros."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("head.inner.bias") or (parameter.ndim == 1 and name.endswith("weight")):
                parameter.fill_(1.0 if name.endswith("bias") else 0.5)
            elif name.endswith("bias") and not name.endswith("head.outer.bias"):
                parameter.zero_()
            else:
                fan = max(1, parameter[0].numel())
                parameter.copy_(torch.rand(parameter.shape, generator=generator) * 2 / fan)


def keeps_a_flip(model: SuperResolver, scale: str) -> None:
    """With kernels that are their own mirror images, a flipped image gives the flipped result.

    At 2.5 its columns have ties between two pixels on either side, and none in the very middle, which no rule breaks
    alike under a flip.
    """
    is_mirrored(model)
    image = torch.rand(1, 1, 17, 16, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        run(model, image.flip(3), scale), run(model, image, scale).flip(3), atol=1e-5, rtol=0
    )


def is_mirrored(model: SuperResolver) -> None:
    """Make every kernel its own mirror image from left to right, the phases of a pixel shuffle included."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | DifferenceConv):
                module.weight.add_(module.weight.flip(3)).div_(2)
            if isinstance(module, nn.Sequential):
                for before, shuffle in pairwise(module):
                    if isinstance(shuffle, nn.PixelShuffle):
                        assert isinstance(before, nn.Conv2d)
                        for held in (before.weight, before.bias):
                            if held is None:
                                continue
                            factor = shuffle.upscale_factor
                            phases = held.reshape(-1, factor, factor, *held.shape[1:])
                            mirrored = phases.flip(2, *([5] if held.ndim == 4 else []))
                            held.copy_(((phases + mirrored) / 2).reshape(held.shape))
            if isinstance(module, MetaHead):
                module.inner.weight[:, 1] = 0.0
                for held in (module.outer.weight, module.outer.bias):
                    taps = held.reshape(module.features, 3, 3, -1)
                    held.copy_(((taps + taps.flip(2)) / 2).reshape(held.shape))


def is_close_in_bfloat16(model: SuperResolver) -> None:
    """Autocast changes the result by a small share of what is in it."""
    image = plane(16, 20, "2")
    exact = run(model, image, str(own_scale(model)))
    with torch.autocast("cpu", torch.bfloat16):
        close = run(model, image, str(own_scale(model)))
    assert close.dtype == torch.float32
    assert float((close - exact).abs().max()) < 0.03 * float(exact.max() - exact.min())


def gradients_reach_every_parameter(model: SuperResolver) -> None:
    """In training, at the scales it has parameters for."""
    model.train()
    generator = torch.Generator().manual_seed(3)
    for scale in {own_scale(model)} | ({2, 3} if isinstance(model, Family) else set()):
        axis = Axis.scaled(10, Fraction(scale))
        sr = model(torch.rand(2, 1, 10, 10, generator=generator), Grid.plane(axis, axis))
        (sr - torch.rand(sr.shape, generator=generator)).abs().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
