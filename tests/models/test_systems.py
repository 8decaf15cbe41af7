"""The systems of the paper's comparison: published sizes, exact fields, and the questions every network is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import model_questions as helpers
import pytest
import torch
from torch import nn

from mesr.errors import UsageError
from mesr.grid import Axis, Grid
from mesr.models import AnyScale, IntegerScales, SuperResolver, build
from mesr.models.family import Family
from mesr.models.fixed import RESIZE_REACH, Stage, reach
from mesr.models.meta_head import MetaHead
from mesr.models.registry import blueprint
from mesr.optimiser import OptimiserConfig, make_optimiser
from mesr.reproduce.budgets import BUDGETS
from mesr.reproduce.systems import SYSTEMS

RDN_B = {"blocks": 16, "layers": 8, "growth": 64}
BASELINE = {"blocks": 16, "features": 64, "residual_scale": 1.0}

systems = pytest.mark.parametrize(
    ("name", "args"), helpers.SYSTEMS, ids=[helpers.named(one) for one in helpers.SYSTEMS]
)


@pytest.mark.parametrize(
    ("name", "args", "parameters"),
    [
        ("srcnn", {}, 57_281),
        ("srcnn", {"middle": 1}, 8_129),
        ("vdsr", {}, 665_921),
        ("srresnet", {}, 1_378_899),
        ("edsr", {}, 40_720_385),
        ("edsr", BASELINE, 1_367_553),
        ("rdn", {}, 5_614_209),
        ("rdn", RDN_B, 22_121_089),
        ("srdensenet", {}, 2_069_505),
        ("meta-rdn", {}, 5_615_232),
        ("meta-rdn", RDN_B, 22_122_112),
        ("miassr", {}, 1_368_576),
        ("rrdb", {}, 16_658_753),
    ],
)
def test_a_system_has_the_published_size(name: str, args: dict[str, Any], parameters: int) -> None:
    """The numbers are worked out from the publications layer by layer: n·m·k² + m for each convolution.

    Ours of meta heads are 256 more: their perceptron is told two scales, one for each axis.
    """
    assert blueprint({"name": name, "args": args}).parameter_count == parameters


@pytest.mark.parametrize(
    ("name", "printed"), [("srresnet", 4.5), ("edsr", 127.5), ("rdn", 17.2)], ids=["SRGAN", "EDSR", "RDN"]
)
def test_the_paper_s_cell_is_the_sum_of_the_networks_for_three_scales(name: str, printed: float) -> None:
    """Table 2, in millions: its fixed-scale systems are counted once for each of ×2, ×3 and ×4."""
    assert blueprint({"name": "family", "args": {"architecture": name}}).parameter_count / 1e6 == (
        pytest.approx(printed, abs=0.05)
    )


def test_every_form_that_a_row_of_the_comparison_has_is_asked_here() -> None:
    def form(name: str, args: Mapping[str, Any]) -> tuple[object, ...]:
        return name, *(args.get(key) for key in ("architecture", "stem", "orientations"))

    rows = {
        form(spec["name"], spec["args"])
        for system in SYSTEMS.values()
        for terms, there in (("published", system.as_published), ("equal", system.equal is not None))
        if there
        for spec in [system.spec(terms, BUDGETS["smoke"], 2)]  # type: ignore[arg-type]
    }
    assert rows <= {form(*one) for one in helpers.SYSTEMS}


@systems
def test_tiles_give_what_a_whole_slice_gives(name: str, args: dict[str, Any]) -> None:
    # At 1.3 a row ties in the very middle, where a tile ends.
    for scale in ("2", "1.5x2.2", "1.3x2.2"):
        helpers.tiles_give_the_whole(helpers.made(name, args), scale)


@systems
def test_the_receptive_field_is_exact(name: str, args: dict[str, Any]) -> None:
    """On a fixed-scale network's own grid; on others the resize may need two pixels more, and no tile too few."""
    model = helpers.made(name, args)
    if model.receptive_field is None:
        pytest.skip("never tiled")
    others = [helpers.furthest_input(model, scale) for scale in ("1.1", "1.5", "2.5")]
    if isinstance(model.scales, IntegerScales):
        own = helpers.furthest_input(model, str(helpers.own_scale(model)))
        assert own == model.receptive_field - RESIZE_REACH
        assert own < max(others) <= model.receptive_field
    elif isinstance(model, Family):
        assert max(others) <= model.receptive_field
    else:
        # These scales have no tie in the very middle, which turned images see a pixel further for.
        assert max(others) == model.receptive_field - ("orientations" in args)


def test_mesr_paper_looks_one_pixel_further_than_a_centred_head() -> None:
    """⌊q/s⌋ may lie one before the nearest pixel, from which a tile's halo is counted."""
    model = helpers.made("mesr-paper", {"blocks": 1, "features": 8, "hidden": 16})
    assert helpers.furthest_input(model, "1.1") == model.receptive_field == 6
    helpers.tiles_give_the_whole(model, "1.1")


@pytest.mark.parametrize(("name", "near"), [("mesr-paper", "pytorch"), ("mesr", "quiet")])
def test_a_body_of_which_nothing_is_said_begins_as_pytorch_makes_it(name: str, near: str) -> None:
    torch.manual_seed(0)
    blocks = build({"name": name, "args": {"blocks": 2, "features": 32}}).get_submodule("blocks")
    inside = [one for one in blocks.modules() if isinstance(one, nn.Conv2d)]
    last = inside[-1].weight.std().item()
    as_pytorch = 1 / math.sqrt(3 * 9 * 32)
    assert len(inside) == 4
    assert (0.9 < last / as_pytorch < 1.1) == (near == "pytorch")
    assert (last / as_pytorch < 0.5) == (near == "quiet")


def test_magnified_convolutions_count_by_where_they_fall() -> None:
    """A 3×3 at ×2 sees one input pixel to each side, and so does a 9×9 at ×4; two at ×2 see no more than one."""
    assert [reach((Stage(0, 2), Stage(1))), reach((Stage(0, 2), Stage(2)))] == [1, 1]
    assert [reach((Stage(0, 4), Stage(4))), reach((Stage(3, 2), Stage(3)))] == [1, 5]


@systems
def test_bfloat16_is_close_to_float32(name: str, args: dict[str, Any]) -> None:
    helpers.is_close_in_bfloat16(helpers.made(name, args))


@systems
def test_features_lie_in_the_order_that_convolutions_are_fastest_in(name: str, args: dict[str, Any]) -> None:
    """Else times told beside each other would compare the layout as well."""
    if "orientations" in args:
        pytest.skip("joined from several that do")
    with torch.inference_mode():
        features = helpers.made(name, args).encode(torch.rand(1, 1, 9, 7)).features
    assert features is None or features.is_contiguous(memory_format=torch.channels_last)


@systems
def test_gradients_reach_every_parameter(name: str, args: dict[str, Any]) -> None:
    helpers.gradients_reach_every_parameter(helpers.made(name, args))


@systems
def test_a_flip_goes_through_where_the_published_geometry_is_symmetric(
    name: str, args: dict[str, Any]
) -> None:
    """All but the 3×3 deconvolutions of stride 2; a corner-aligned head at whole scales only. These two must break it."""
    model = helpers.made(name, args)
    if "srdensenet" in (name, args.get("architecture")):
        with pytest.raises(AssertionError):
            helpers.keeps_a_flip(model, str(helpers.own_scale(model)))
        helpers.keeps_a_flip(helpers.made(name, args | {"scale": 3}), "3")
        return
    helpers.keeps_a_flip(model, "2")
    if any(isinstance(module, MetaHead) and module.coordinates == "corner" for module in model.modules()):
        with pytest.raises(AssertionError):
            helpers.keeps_a_flip(model, "2.5")
    else:
        helpers.keeps_a_flip(model, "2.5")


@systems
def test_a_few_steps_of_either_optimiser_learn_something(name: str, args: dict[str, Any]) -> None:
    for optimiser in ("adam", "muon"):
        model = helpers.made(name, args)
        first, last = _learn(model, optimiser)
        assert last < 0.92 * first, optimiser


def _learn(model: SuperResolver, name: str) -> tuple[float, float]:
    """The mean absolute error on one batch of blurred squares before and after fifteen steps."""
    model.train()
    settings = OptimiserConfig(name=name, rate=3e-3, muon_rate=3e-3, head=1.0)  # type: ignore[arg-type]
    optimiser = make_optimiser(model, settings)
    scale = helpers.own_scale(model)
    squares = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(4))
    hr = squares.repeat_interleave(2 * scale, 2).repeat_interleave(2 * scale, 3)
    lr = torch.nn.functional.avg_pool2d(hr, 3, 1, 1)[..., ::scale, ::scale]
    axis = Axis.sized(lr.shape[2], hr.shape[2])
    errors = []
    for _ in range(16):
        error = (model(lr, Grid.plane(axis, axis)) - hr).abs().mean()
        errors.append(error.item())
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    return errors[0], errors[-1]


def test_srcnn_and_vdsr_begin_as_the_bicubic_image_at_any_scale() -> None:
    image = helpers.plane(20, 18, "2.5")
    bicubic = helpers.run(build({"name": "bicubic"}), image, "2.5")
    for name, tolerance in (("srcnn", 0.02), ("vdsr", 0.3)):
        model = helpers.made(name, {})
        assert isinstance(model.scales, AnyScale)
        assert float((helpers.run(model, image, "2.5") - bicubic).abs().mean()) < tolerance


@pytest.mark.parametrize("scale", [1, 5, 2.5, True])
def test_a_network_of_one_scale_is_built_for_two_three_or_four(scale: float) -> None:
    with pytest.raises(UsageError, match="2, 3 or 4"):
        build({"name": "edsr", "args": {"scale": scale}})
