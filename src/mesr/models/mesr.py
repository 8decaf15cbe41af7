"""The paper's network: an EDSR-lite body (Fig. 1b) under the meta-upscale head.

`mesr` is our reading, centred and with two changes that make it exact where the paper's is not: a bicubic
skip, and a first convolution whose kernels sum to zero, so that features see differences only. A constant
then passes unchanged, and SR(a·x + b) = a·SR(x) + b for any a > 0: no HU level or intensity window is
special, unless a stem that knows them is asked for. `mesr-paper` is the network as printed: corner-aligned, no skip past the body.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..grid import Grid
from ..kernels.convolution import conv3x3
from ..resample import resize
from .contract import AnyScale, Encoded, SuperResolver
from .interpolators import corrected
from .meta_head import Coordinates, Form, MetaHead, reach
from .orientations import ORIENTATIONS, Orientation
from .registry import register
from .stems import Stem, make_stem

MOST_CORRECTIONS = 30
"""After two or three nothing changes any more; a file may ask for no more work than this."""


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), 3×3, no batch norm, no bias unless asked for (Lim et al. 2017; paper §4.3)."""

    def __init__(self, features: int, bias: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1, bias=bias)
        self.second = nn.Conv2d(features, features, 3, padding=1, bias=bias)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.normal_(self.second.weight, std=0.1 / math.sqrt(9 * features))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.first, self.second
        return conv3x3(conv3x3(x, first.weight, first.bias, relu=True), second.weight, second.bias, add=x)


@register("mesr")
class Mesr(SuperResolver):
    """Arbitrary-scale network: EDSR-lite body, meta-upscale head.

    Args:
        blocks: residual blocks; 16 give 1.37 M parameters, 64 give 4.9 M.
        features: channels of the body.
        hidden: width of the head's perceptron.
        coordinates: source and offset convention of the head.
        skip: "bicubic" adds the bicubic interpolation (a = −0.5) to the head's output; "none" does not.
        stem: "difference" for a first convolution on differences; "gated" for one whose differences are weighted by
            the level and contrast around them, which binds the weights to the window they were trained in; "plain"
            for an ordinary one.
        max_scale: the largest scale it is offered for.
        corrections: times that a whole result is shrunk and what then misses of the input added back (Irani and
            Peleg 1991). For weights whose low-resolution images are the reference shrunk by the anti-aliased
            bicubic; where a network is to take noise or blur away they would bring it back.
        bias: whether the body's convolutions have one.
        initialisation: "quiet" lets every block begin near identity; "pytorch" leaves the body as PyTorch makes it.
        orientations: of an image that body and head see, 1, 2, 4 or 8; the answer is their mean, and the work so
            many times as much.

    Raises:
        UsageError: `corrections` is no whole number from 0 to 30, `orientations` none of those four, or `stem` none
            of those three.
    """

    def __init__(
        self,
        blocks: int = 64,
        features: int = 64,
        hidden: int = 256,
        coordinates: Coordinates = "nearest",
        skip: Literal["bicubic", "none"] = "bicubic",
        stem: Stem = "difference",
        max_scale: float = 4.0,
        corrections: int = 0,
        orientations: int = 1,
        bias: bool = False,
        initialisation: Literal["quiet", "pytorch"] = "quiet",
    ) -> None:
        super().__init__()
        if orientations not in (1, 2, 4, 8):
            raise UsageError("architecture", "orientations must be 1, 2, 4 or 8.")
        if corrections not in range(MOST_CORRECTIONS + 1):
            raise UsageError(
                "architecture", f"corrections must be a whole number from 0 to {MOST_CORRECTIONS}."
            )
        self.scales = AnyScale(1.0, max_scale)
        # An output in the very middle ties between two pixels, and a turned image breaks the tie the other way.
        self.receptive_field = 2 * blocks + 2 + reach(coordinates) + (orientations > 1)
        self.adds_image = skip != "none"
        self.corrections = corrections
        self.orientations = ORIENTATIONS[:orientations]
        self.finishes = corrections > 0
        self.stem: nn.Module = make_stem(stem, features)
        self.blocks = nn.Sequential(*(ResidualBlock(features, bias) for _ in range(blocks)))
        self.tail = nn.Conv2d(features, features, 3, padding=1, bias=bias)
        nn.init.normal_(self.tail.weight, std=1.0 / math.sqrt(9 * features))
        if initialisation == "pytorch":
            for one in (*self.blocks.modules(), self.tail):
                if isinstance(one, nn.Conv2d):
                    one.reset_parameters()
        self.head = MetaHead(features, hidden, coordinates)
        for convolution in (self.blocks, self.tail):
            convolution.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, lr: Tensor) -> Encoded:
        """The features of each orientation, turned back, one behind the other: (N, orientations · C, H, W)."""
        return Encoded(lr, _joined([one.back(self._features(one.of(lr))) for one in self.orientations]))

    def prepared(self, encoded: Encoded) -> Encoded:
        """With the head's responses, four times the features: most of what a scale that is no small fraction costs."""
        assert encoded.features is not None
        made = [
            [one.back(response) for response in self.head.responses(one.of(part))]
            for one, part in zip(self.orientations, self._parts(encoded.features), strict=True)
        ]
        return encoded._replace(responses=tuple(_joined(each) for each in zip(*made, strict=True)))

    def decode(self, encoded: Encoded, grid: Grid, form: Form | None = None) -> Tensor:
        assert encoded.features is not None
        parts = self._parts(encoded.features)
        made = encoded.responses and list(zip(*map(self._parts, encoded.responses), strict=True))

        def answers() -> Iterator[Tensor]:
            for n, (one, part) in enumerate(zip(self.orientations, parts, strict=True)):
                responses = tuple(one.of(response) for response in made[n]) if made else None
                yield self._detail(one, one.of(part), grid, form, responses)

        return self._image(answers(), encoded.lr, grid)

    def forward(self, lr: Tensor, grid: Grid) -> Tensor:
        """`encode` and `decode` in one, an orientation after the other, so that memory is that of one."""
        answers = (self._detail(one, self._features(one.of(lr)), grid) for one in self.orientations)
        return self._image(answers, lr, grid)

    def _features(self, lr: Tensor) -> Tensor:
        return through(self.stem, self.blocks, self.tail, lr)

    def _detail(
        self,
        one: Orientation,
        features: Tensor,
        grid: Grid,
        form: Form | None = None,
        responses: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """What the head says of features in an orientation, turned back."""
        axes = one.grid(grid)
        return one.back(self.head(features, axes.rows, axes.columns, form, responses))

    def _image(self, details: Iterable[Tensor], lr: Tensor, grid: Grid) -> Tensor:
        """The mean of what the orientations say, on the skip."""
        detail = functools.reduce(torch.add, details)
        if len(self.orientations) > 1:
            detail = detail / len(self.orientations)
        return detail + resize(lr, grid.rows, grid.columns, "bicubic") if self.adds_image else detail

    def _parts(self, joined: Tensor) -> tuple[Tensor, ...]:
        return joined.chunk(len(self.orientations), dim=1)

    def finish(self, lr: Tensor, sr: Tensor, grid: Grid) -> Tensor:
        return corrected(lr, sr, grid, self.corrections)


def through(stem: nn.Module, blocks: nn.Module, tail: nn.Conv2d, lr: Tensor) -> Tensor:
    """The body's features (N, C, H, W) of an image, the first convolution's added to the last one's."""
    shallow: Tensor = stem(lr).contiguous(memory_format=torch.channels_last)
    deep = blocks(shallow)
    if (
        deep.dtype is not shallow.dtype
    ):  # Blocks that sum in bfloat16 (`kernels.fused`); the last sum does not.
        return shallow + conv3x3(deep, tail.weight, tail.bias)
    return conv3x3(deep, tail.weight, tail.bias, add=shallow)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """What the orientations give, along the channels."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


@register("mesr-paper")
class MesrPaper(Mesr):
    """The network as printed: Eq. (5) corner-aligned, the head alone makes the image.

    The paper does not say how its body begins; so it begins as PyTorch makes it, as other networks of which nothing is said.
    """

    def __init__(
        self, blocks: int = 64, features: int = 64, hidden: int = 256, max_scale: float = 4.0,
        initialisation: Literal["quiet", "pytorch"] = "pytorch",
    ) -> None:  # fmt: skip
        super().__init__(
            blocks, features, hidden, "corner", "none", "plain", max_scale, initialisation=initialisation
        )
