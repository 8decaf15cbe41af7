"""Networks of one whole scale each as one model for any scale: the next integer, then bicubic down.

So a fixed-scale system takes part where an arbitrary-scale one is measured (issue 3). It is one weights file
that holds every member, as heavy as they are together, which is what such a system costs its user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import UsageError
from ..grid import Axis, Grid
from .contract import AnyScale, Encoded, SuperResolver
from .fixed import SCALES, FixedScale, steps
from .registry import Spec, build, register

NAME = "family"


@register(NAME)
class Family(SuperResolver):
    """Members of one fixed-scale architecture.

    A grid is answered by the member of the smallest scale that covers both axes, as the effective scale reads
    with two decimals: rounding a size to whole pixels must not call the next member. Beyond the largest scale
    the largest member answers.

    Args:
        architecture: registered name of the members' architecture.
        args: its arguments, without `scale`.
        members: the scales there is a member for.

    Raises:
        UsageError: the architecture is not one of a fixed scale, or the scales make no sense.
    """

    def __init__(
        self,
        architecture: str = "edsr",
        args: Mapping[str, Any] | None = None,
        members: Sequence[int] = SCALES,
    ) -> None:
        super().__init__()
        if architecture == NAME or not members or not set(members) <= set(SCALES):
            raise UsageError(
                "architecture", "A family has networks of one scale each, for one or more of 2, 3 and 4."
            )
        self.members = nn.ModuleDict()
        for scale in sorted(set(members)):
            self.members[str(scale)] = build({"name": architecture, "args": {**(args or {}), "scale": scale}})
        self.scales = AnyScale(1.0, float(max(members)))
        fields = [one.receptive_field for one in self._fixed()]
        known = [one for one in fields if one is not None]
        self.receptive_field = max(known) if len(known) == len(fields) else None

    def _fixed(self) -> list[FixedScale]:
        return [one for one in self.members.values() if isinstance(one, FixedScale)]

    def member(self, grid: Grid) -> FixedScale:
        """The member that answers a grid."""
        wanted = round(max(grid.scale[1:]), 2)
        there = self._fixed()
        return next((one for one in there if one.scale >= wanted), there[-1])

    def encode(self, lr: Tensor) -> Encoded:
        """The image alone: which member's features are wanted is not known before the grid."""
        return Encoded(lr)

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        member = self.member(grid)
        return member.decode(member.encode(encoded.lr), grid)


@register("at-one-scale")
class AtOneScale(FixedScale):
    """A network that could be asked for any scale but was trained for one: it is asked for that alone.

    SRCNN and VDSR map an image that is interpolated already, so another scale needs no other layer; but they do not
    know what is missing there.

    Args:
        architecture: registered name of the network.
        args: its arguments.
        scale: the whole scale it knows.
    """

    def __init__(
        self, architecture: str = "srcnn", args: Mapping[str, Any] | None = None, scale: int = 2
    ) -> None:
        steps(scale)
        super().__init__(scale)
        if architecture == "at-one-scale":
            raise UsageError("architecture", "A network is asked for one scale once.")
        self.network = build({"name": architecture, "args": dict(args or {})})
        self.receptive_field = self.network.receptive_field
        self.adds_image = self.network.adds_image

    def encode(self, lr: Tensor) -> Encoded:
        """The image alone, which the network interpolates."""
        return Encoded(lr, lr)

    def magnify(self, features: Tensor) -> Tensor:
        rows, columns = (Axis.sized(count, self.scale * count) for count in features.shape[2:])
        fine: Tensor = self.network(features, Grid.plane(rows, columns))
        return fine


def at_one_scale(spec: Mapping[str, Any], model: SuperResolver, scale: int) -> tuple[Spec, SuperResolver]:
    """A trained network as one of a whole scale, ready for `join`; itself where it is built for one."""
    if isinstance(model, FixedScale):
        return spec, model
    own = {
        "name": "at-one-scale",
        "args": {"architecture": spec["name"], "args": spec["args"], "scale": scale},
    }
    alone = build(own)
    assert isinstance(alone, AtOneScale)
    alone.network.load_state_dict(model.state_dict())
    return own, alone.eval()


def join(members: Sequence[tuple[Mapping[str, Any], SuperResolver]]) -> tuple[dict[str, Any], Family]:
    """Trained members as a family, ready for `weights.save`.

    Args:
        members: spec and model of each (`weights.load` gives both); specs that differ in `scale` only.

    Returns:
        The family's spec, and the family with the members' weights.

    Raises:
        UsageError: they are not of one architecture, or two are of one scale.
    """
    own: dict[int, SuperResolver] = {}
    kinds = []
    for spec, model in members:
        args = dict(spec.get("args") or {})
        scale = args.pop("scale", getattr(model, "scale", 0))
        own[scale] = model
        kinds.append((spec["name"], args))
    if len(own) != len(members) or not kinds or any(kind != kinds[0] for kind in kinds):
        raise UsageError(
            "architecture", "A family joins networks of one architecture, each of another scale."
        )
    name, args = kinds[0]
    spec = {"name": NAME, "args": {"architecture": name, "args": args, "members": sorted(own)}}
    family = build(spec)
    assert isinstance(family, Family)
    for scale, model in own.items():
        family.members[str(scale)].load_state_dict(model.state_dict())
    return spec, family.eval()
