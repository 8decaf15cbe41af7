"""VGG networks that look at images for the perceptual term: layers, weights, and never a step of training.

Their layers are named as torchvision's, so VGG19's published file fits; torchvision itself is not needed.
Weights are read from a file whose origin is known: a pickle only as plain tensors, VGG19's by the start of its sha256.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import UsageError, WeightsError
from ..kernels.convolution import conv3x3

NAMED = ("vgg19", "vgg16")
VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
_VGG19_FILE = VGG19_URL.rpartition("/")[2]
VGG19_SHA256 = "dcbb9e9d"
"""The first digits, which torch's hub puts into the name of the file."""
KEY = "vgg"
"""In the header of a safetensors file: which of the networks it holds."""


@dataclass(frozen=True)
class Architecture:
    """A VGG network (Simonyan & Zisserman 2015) and how it wants its images.

    Attributes:
        name: "vgg19" or "vgg16".
        convolutions: 3×3 convolutions of each block; a block ends in a 2×2 maximum.
        mean, std: of red, green and blue where the image is 0…1; a channel c enters as (c − mean) / std.
        unit: what its maps are about as many times larger as, than those of a network whose input has the spread of
            VGG19's: `std` of VGG19 over its own.
    """

    name: str
    convolutions: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    unit: float = 1.0


ARCHITECTURES = {
    one.name: one
    for one in (
        Architecture("vgg19", (2, 2, 4, 4, 4), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        # As Keras trained it: 255·x less the mean colour.
        Architecture("vgg16", (2, 2, 3, 3, 3), (123.7 / 255, 116.8 / 255, 103.9 / 255), (1 / 255,) * 3, 0.226 * 255),
    )
}  # fmt: skip
WIDTHS = (64, 128, 256, 512, 512)
"""Maps of each block."""
PIXELS_A_MAP = 8
"""From how many pixels for each output map on Winograd's form is quicker: eight images of 64² took VGG16 77 ms forward rather than
110 on two cores of an AMD EPYC, and 154 with the small deep maps by it as well."""


class Vgg(nn.Module):
    """The convolutions of a VGG network, frozen: no parameter asks for a gradient, there is no other mode.

    The gradient still passes through to the image.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        layers: list[nn.Module] = []
        self._ends: list[int] = []
        before = 3
        for width, count in zip(WIDTHS, architecture.convolutions, strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            self._ends.append(len(layers))
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(architecture.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(architecture.std).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> Vgg:
        """Nothing: it stays as it is."""
        return self

    def forward(self, image: Tensor, depths: int = len(WIDTHS), *, last_relu: bool = True) -> list[Tensor]:
        """The maps at the end of the first `depths` blocks, after the ReLU and before the maximum.

        Args:
            image: (N, 1, H, W), about 0…1; the one channel enters as red, green and blue. H, W ≥ 2^(depths − 1).
            last_relu: False takes the deepest of them before its ReLU.

        Returns:
            `[(N, 64, H, W), (N, 128, H/2, W/2), …]`, sizes rounded down.
        """
        maps: list[Tensor] = []
        x = (image - self.mean) / self.std
        first = 0
        for end in self._ends[:depths]:
            for layer in list(self.features)[first:end]:
                if isinstance(layer, nn.Conv2d):
                    relu = last_relu or layer is not self.features[self._ends[depths - 1] - 2]
                    x = _convolved(x, layer, relu=relu)
                elif isinstance(layer, nn.MaxPool2d):
                    x = layer(x)
            maps.append(x)
            first = end
        return maps


def _convolved(x: Tensor, layer: nn.Conv2d, *, relu: bool) -> Tensor:
    """A convolution, with its ReLU or without; by `kernels` where there is more image than kernels to transform."""
    n, _, height, width = x.shape
    if n * height * width >= PIXELS_A_MAP * layer.out_channels:
        return conv3x3(x, layer.weight, layer.bias, relu=relu)
    found: Tensor = layer(x)
    return torch.relu(found) if relu else found


def load(source: str) -> Vgg:
    """A network with its weights.

    Args:
        source: "vgg19", fetched once into torch's cache; "vgg16", which `mesr.losses.fetch` puts there; or the
            path of vgg19-dcbb9e9d.pth or of a safetensors file that `mesr.losses.fetch` wrote.

    Raises:
        WeightsError: codes `no-vgg` (not there and not to be had) and `vgg-file` (another file, or damaged).
    """
    path = cached(source) if source in NAMED else Path(source).expanduser()
    name, tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_vgg19(path)
    if name not in ARCHITECTURES:
        raise _other_file(path)
    vgg = Vgg(ARCHITECTURES[name])
    wanted = {key: value.shape for key, value in vgg.state_dict().items()}
    if any(key not in tensors or tensors[key].shape != shape for key, shape in wanted.items()):
        raise _other_file(path)
    vgg.load_state_dict({key: tensors[key].float() for key in wanted})
    return vgg


def cache() -> Path:
    """Where torch keeps downloaded weights; the environment's TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def cached_vgg16() -> Path:
    """Where `mesr.losses.fetch` puts VGG16."""
    return cache() / "mesr-vgg16.safetensors"


def at_hand() -> str:
    """VGG19 unless VGG16 alone is in the cache."""
    return "vgg16" if to_fetch("vgg19") and cached_vgg16().is_file() else "vgg19"


def to_fetch(source: str) -> str:
    """A sentence for the user where `load` would fetch the weights, else nothing."""
    if source != "vgg19" or (cache() / _VGG19_FILE).is_file():
        return ""
    return f"Fetching VGG19's weights, 575 MB, once, from {VGG19_URL}"


def cached(source: str) -> Path:
    """The file in the cache of "vgg19" or "vgg16", fetched where that can be.

    Raises:
        UsageError: another source.
        WeightsError: as `load`.
    """
    if source not in NAMED:
        raise UsageError("loss", "Only vgg19 and vgg16 are kept in a cache.")
    return _vgg19() if source == "vgg19" else _vgg16()


def _vgg16() -> Path:
    path = cached_vgg16()
    if not path.is_file():
        raise WeightsError(
            "no-vgg",
            "The perceptual loss needs VGG16's weights, which are not in the cache.",
            "Fetch them once: python -m mesr.losses.fetch",
            path,
        )
    return path


def _vgg19() -> Path:
    path = cache() / _VGG19_FILE
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(VGG19_URL, str(path), VGG19_SHA256, progress=False)
        except (OSError, RuntimeError):  # No network, or what came is another file.
            raise WeightsError(
                "no-vgg",
                "The perceptual loss needs VGG19's weights, which are not in the cache and could not be fetched.",
                "Put vgg19-dcbb9e9d.pth there or name it as perceptual.vgg=FILE; or run python -m"
                " mesr.losses.fetch and set perceptual.vgg=vgg16.",
                path,
            ) from None
    return path


def _read_vgg19(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The published file, a pickle: opened only when its hash is right, and then only for tensors."""
    if not digest(path).startswith(VGG19_SHA256):
        raise _other_file(path)
    return "vgg19", torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return (file.metadata() or {}).get(KEY, ""), tensors
    except (OSError, SafetensorError):
        raise _other_file(path) from None


def digest(path: Path) -> str:
    """sha256 (hex) of a file.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise _other_file(path) from None


def _other_file(path: Path) -> WeightsError:
    return WeightsError(
        "vgg-file",
        "The file of the perceptual loss is missing, damaged or not one of VGG's that is known.",
        "Give vgg19-dcbb9e9d.pth, or what python -m mesr.losses.fetch made.",
        path,
    )
