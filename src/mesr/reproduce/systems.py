"""The systems of the paper's Table 2 and those it names elsewhere: one entry each, with the sizes they come in.

A size that is larger than MESR's is reduced for equal terms to 4–6 M parameters, its architecture kept; smaller
ones stay as published. `tiny` is for smoke runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..models.registry import Spec
from .budgets import Budget

Terms = Literal["published", "equal"]
Kind = Literal["fixed", "meta", "own"]


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        name: in ids and in names of weights.
        title: in tables.
        architecture: registered name.
        kind: "fixed" for one whole scale, "meta" for a meta head, "own" for a network that `mesr` made or that
            starts from the bicubic image by itself, which equal terms change nothing about.
        published: arguments of the published size.
        equal: arguments on equal terms; None where there is no row of its own on equal terms.
        tiny: arguments in a smoke run.
        scales: whole scales trained, each a network; empty for one network for every scale.
        together: whole scales that one network was published for, where it is the only one.
        origin: name of the system whose weights it is fine-tuned from with the compound loss.
        column: of the paper's Table 2.
        rate: Adam's, as published.
        loss: the pixel loss it was published with.
        critic: the adversarial loss it was published with (`losses.CriticConfig`).
        second: weights of the losses of its second stage as published.
        depths: of VGG that the second stage looked at as published; the budget's deepest in a smoke run.
        as_published: whether there is a row of the published kind.
        giant: whether that row is trained under the largest budget only.
        smaller: what is trained elsewhere in place of a giant without a row on equal terms.
        sizes: how large it is, in words, by terms.
    """

    name: str
    title: str
    architecture: str
    kind: Kind
    published: Mapping[str, Any]
    equal: Mapping[str, Any] | None
    tiny: Mapping[str, Any]
    scales: tuple[int, ...] = ()
    origin: str = ""
    column: str = ""
    rate: float = 1e-4
    loss: Literal["l1", "l2"] = "l1"
    critic: Literal["wasserstein", "cross-entropy", "relativistic"] = "wasserstein"
    second: Mapping[str, float] = field(default_factory=dict)
    depths: tuple[int, ...] = ()
    as_published: bool = True
    giant: bool = False
    smaller: str = ""
    together: tuple[int, ...] = ()
    sizes: Mapping[str, str] = field(default_factory=dict)

    @property
    def after(self) -> System | None:
        """The system whose weights it is fine-tuned from."""
        return SYSTEMS[self.origin] if self.origin else None

    def scales_of(self, terms: Terms) -> tuple[int, ...]:
        """`scales`, or none where one network was published for several."""
        return () if terms == "published" and self.together else self.scales

    def titled(self, terms: Terms, budget: Budget) -> str:
        """Its title with its size."""
        known = terms in self.sizes and not budget.tiny
        return f"{self.title} ({self.sizes[terms]})" if known else self.title

    def spec(self, terms: Terms, budget: Budget, scale: int | None = None) -> Spec:
        """The architecture and its arguments.

        Args:
            scale: of a network of one scale.
        """
        args: dict[str, Any] = dict(self.published if terms == "published" else self.equal or {})
        if budget.tiny:
            args |= self.tiny
        own = {"scale": scale} if self.kind == "fixed" else {}
        if terms == "published" or self.kind == "own":
            return {"name": self.architecture, "args": args | own}
        name = "equal-fixed" if self.kind == "fixed" else "equal-any"
        return {"name": name, "args": {"architecture": self.architecture, "args": args} | own}


SRGAN_MAPS = (0.226 * 255 / 12.75) ** 2
"""Weight of SRGAN's VGG term. Its authors divide by 12.75 the maps of a network whose images go to 255; ours are in the
unit of VGG19's, whose images have a spread of one (`losses.FeatureDistance`)."""

_RDN_B = {"blocks": 16, "layers": 8, "growth": 64}
_LITE = {"blocks": 16, "features": 64, "residual_scale": 1.0}
_ONCE = {"blocks": 16, "stem": "gated"}
_TURNED = _ONCE | {"orientations": 4}
"""As many multiply-adds as 64 blocks in one orientation and a few hundredths more, a quarter of the parameters
(docs/explanation/choices.md)."""

_TINY_RDN = {"blocks": 2, "layers": 2, "growth": 8, "features": 16}
_TINY_META = {"blocks": 3, "features": 16, "hidden": 32}
_GENTLE = {"l1": 1.0, "perceptual": 0.03, "adversarial": 0.001}
"""The paper weighs its adversarial term by nothing it tells: as MIASSR does. At its rate, without averaged weights, the 0.1 of
equal terms breaks the network (docs/explanation/losses.md)."""

_PRINTED = {"blocks": 64, "initialisation": "pytorch"}

SYSTEMS: dict[str, System] = {
    one.name: one
    for one in (
        System("srcnn", "SRCNN", "srcnn", "own", {}, {}, {"features": 16}, (2,), loss="l2"),
        System(
            "vdsr", "VDSR", "vdsr", "own", {}, {}, {"layers": 6, "features": 16}, (2,), loss="l2", together=(2, 3, 4),
        ),
        System("srresnet", "SRResNet", "srresnet", "fixed", {}, {}, {"blocks": 3, "features": 16}, (2,), loss="l2"),
        System(
            "srgan", "SRGAN", "srresnet", "fixed", {}, {}, {"blocks": 3, "features": 16}, (2,), "srresnet", "SRGAN",
            critic="cross-entropy", second={"vgg_l2": SRGAN_MAPS, "adversarial": 1e-3}, depths=(5,),
        ),
        System(
            "edsr", "EDSR", "edsr", "fixed", {}, {"blocks": 32, "features": 96, "residual_scale": 1.0}, {"blocks": 4, "features": 20},
            (2,), column="EDSR", sizes={"published": "32 × 256", "equal": "32 × 96, reduced from 32 × 256"}, giant=True,
        ),
        System(
            "edsr-16x64", "EDSR 16 × 64", "edsr", "fixed", _LITE, _LITE, {"blocks": 3, "features": 16}, (2, 3, 4)
        ),
        System("rdn", "RDN-A", "rdn", "fixed", {}, {}, _TINY_RDN, (2,), column="RDN"),
        System("rdn-b", "RDN-B", "rdn", "fixed", _RDN_B, None, _TINY_RDN, (2,), column="RDN", giant=True, smaller="RDN-A"),
        System(
            "srdensenet", "SRDenseNet", "srdensenet", "fixed", {}, {},
            {"blocks": 2, "layers": 3, "growth": 8, "bottleneck": 16}, (2,), column="SRDenseNet", loss="l2",
        ),
        System(
            "rrdb", "ESRGAN's generator (L1)", "rrdb", "fixed", {}, {"blocks": 7},
            {"blocks": 1, "features": 16, "growth": 8}, (2,), rate=2e-4, sizes={"published": "23 blocks", "equal": "7 blocks, reduced from 23"}, giant=True,
        ),
        System(
            "esrgan", "ESRGAN", "rrdb", "fixed", {}, {"blocks": 7}, {"blocks": 1, "features": 16, "growth": 8},
            (2,), "rrdb", sizes={"published": "23 blocks", "equal": "7 blocks, reduced from 23"}, critic="relativistic",
            second={"l1": 0.01, "vgg_raw_l1": 1.0, "adversarial": 0.005}, depths=(5,), giant=True,
        ),
        System("meta-rdn", "MetaRDN-A", "meta-rdn", "meta", {}, {}, _TINY_RDN | {"hidden": 32}, column="MetaRDN"),
        System("meta-rdn-b", "MetaRDN-B", "meta-rdn", "meta", _RDN_B, None, _TINY_RDN | {"hidden": 32}, giant=True, smaller="MetaRDN-A"),
        System("miassr", "MIASSR's first stage (L1)", "miassr", "meta", {}, {}, _TINY_META),
        System("miassr-gan", "MIASSR", "miassr", "meta", {}, {}, _TINY_META, (), "miassr", "MIASSR", critic="cross-entropy",
            second={"l1": 1.0, "vgg_raw_l2": 0.006, "adversarial": 0.001}, depths=(2,),
        ),
        System("mesr-lite", "mesr-lite (L1)", "mesr", "own", {}, _ONCE, _TINY_META, as_published=False),
        System(
            "mesr", "MESR (L1)", "mesr", "own", {}, _TURNED, _TINY_META | {"blocks": 4},
            as_published=False, sizes={"equal": "16 blocks in four orientations"},
        ),
        System(
            "mesr-16x8", "MESR (L1) in eight orientations", "mesr", "own", {}, _TURNED | {"orientations": 8}, _TINY_META | {"blocks": 4},
            as_published=False, sizes={"equal": "16 blocks"},
        ),
        System(
            "mesr-compound", "MESR (compound)", "mesr", "own", {}, _TURNED, _TINY_META | {"blocks": 4}, (),
            "mesr", as_published=False,
        ),
        System(
            "mesr-paper", "MESR as printed (L1)", "mesr-paper", "meta", _PRINTED, _PRINTED, _TINY_META | {"blocks": 4},
            column="Ours", rate=4e-4,
        ),
        System(
            "mesr-paper-compound", "MESR as printed (compound)", "mesr-paper", "own", _PRINTED, None,
            _TINY_META | {"blocks": 4}, (), "mesr-paper", "Ours", rate=4e-4, second=_GENTLE,
        ),
    )
}  # fmt: skip
"""By name, in the order of the tables: Table 2's, the paper's own last."""

UNTRAINED = ("nearest", "bilinear", "bicubic", "bspline3", "bspline5", "sinc", "backprojection")
"""Interpolators and back-projection, by the names they are loaded by."""
