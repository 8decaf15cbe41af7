"""Published networks on equal terms (`protocol.md`, Fair comparison): the coordinates and the skip that `mesr` has.

A comparison of networks must not be one of conventions. Here a network of one scale, or one under a meta head,
predicts what bicubic misses, with pixel centres aligned; nothing else about it changes. The layers keep their
names, which the optimiser tells heads and stems by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..grid import Grid
from ..resample import resize
from .contract import Encoded, SuperResolver
from .fixed import FixedScale, Stage
from .meta_head import Coordinates, MetaHead, reach
from .registry import build, register

Network = TypeVar("Network", bound=SuperResolver)

QUIET = 0.1
"""Share of its usual size a last convolution starts with, as the meta head does: the skip carries the image."""


@register("equal-fixed")
class EqualFixed(FixedScale):
    """A network of one whole scale, added to bicubic.

    Args:
        architecture: registered name.
        args: its arguments, without `scale`.
        scale: 2, 3 or 4.

    Raises:
        UsageError: the architecture is not one of a fixed scale, or adds the image by itself.
    """

    skips = True

    def __init__(
        self, architecture: str = "edsr", args: Mapping[str, Any] | None = None, scale: int = 2
    ) -> None:
        super().__init__(scale, Stage(0, scale))
        network = _inner(FixedScale, architecture, {**(args or {}), "scale": scale})  # type: ignore[type-abstract]
        last = getattr(network, "last", None)
        if isinstance(last, nn.Conv2d):
            with torch.no_grad():
                last.weight.mul_(QUIET)
        self._network = _adopted(self, network)
        self.receptive_field = network.receptive_field

    def encode(self, lr: Tensor) -> Encoded:
        return self._network[0].encode(lr)

    def magnify(self, features: Tensor) -> Tensor:
        return self._network[0].magnify(features)


@register("equal-any")
class EqualAny(SuperResolver):
    """A network under a meta head, its coordinates changed, added to bicubic.

    Args:
        architecture: registered name.
        args: its arguments.
        coordinates: of the head.

    Raises:
        UsageError: the architecture has no meta head, or adds the image or finishes it by itself.
    """

    adds_image = True

    def __init__(
        self,
        architecture: str = "meta-rdn",
        args: Mapping[str, Any] | None = None,
        coordinates: Coordinates = "nearest",
    ) -> None:
        super().__init__()
        network = _inner(SuperResolver, architecture, dict(args or {}))  # type: ignore[type-abstract]
        head = getattr(network, "head", None)
        if not isinstance(head, MetaHead):
            raise UsageError("architecture", f"The architecture {architecture[:40]} has no meta head.")
        less = reach(head.coordinates) - reach(coordinates)
        head.coordinates = coordinates
        head.initialise()  # Its ramps begin where the offsets of these coordinates lie.
        self._network = _adopted(self, network)
        self.scales = network.scales
        assert network.receptive_field is not None
        self.receptive_field = network.receptive_field - less

    def encode(self, lr: Tensor) -> Encoded:
        return self._network[0].encode(lr)

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        return self._network[0].decode(encoded, grid) + resize(encoded.lr, grid.rows, grid.columns, "bicubic")


def _inner(kind: type[Network], architecture: str, args: Mapping[str, Any]) -> Network:
    """The network inside, which must not be one of these again, nor have what is added here."""
    network = None if architecture.startswith("equal-") else build({"name": architecture, "args": args})
    if not isinstance(network, kind) or network.adds_image or network.finishes:
        raise UsageError(
            "architecture", f"The architecture {architecture[:40]} cannot be put on equal terms."
        )
    return network


def _adopted(owner: nn.Module, network: Network) -> tuple[Network]:
    """Make the network's layers the owner's own; the network itself is kept out of sight, in a tuple."""
    for name, child in network.named_children():
        owner.add_module(name, child)
    return (network,)
