"""The questions every model is asked; a new one costs a line in `test_zoo.py`."""

from __future__ import annotations

from pathlib import Path

import torch

from mesr.grid import Target
from mesr.models import SuperResolver, build
from mesr.models import weights as weights_files


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
