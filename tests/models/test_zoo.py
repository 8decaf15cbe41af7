"""Every architecture through the same questions."""

from __future__ import annotations

from pathlib import Path

import model_questions as helpers
import numpy as np
import pytest
import torch

from mesr.errors import UsageError
from mesr.metrics import lattice
from mesr.models import architectures, build, weights

NETWORKS = [
    ("mesr", {"blocks": 1, "features": 16, "hidden": 16, "bias": True, "initialisation": "pytorch"}),
    *helpers.SYSTEMS,
]
INTERPOLATORS = ["nearest", "bilinear", "bicubic", "bspline3", "bspline5", "sinc", "backprojection"]


def test_the_registry_knows_what_is_tested_here() -> None:
    assert set(architectures()) == {name for name, _ in NETWORKS} | set(INTERPOLATORS)


@pytest.mark.parametrize(("name", "args"), [*NETWORKS, *((name, {}) for name in INTERPOLATORS)])
def test_a_model_answers_every_size_and_encodes_once(name: str, args: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = build({"name": name, "args": args}).eval()
    helpers.answers_every_size(model)
    helpers.encodes_once_for_every_scale(model)


@pytest.mark.parametrize("name", INTERPOLATORS)
def test_interpolators_keep_flips_tiles_and_precision(name: str) -> None:
    """What they are by name needs no file; those that look at a whole slice are never tiled."""
    model = build({"name": name}).eval()
    assert (model.receptive_field is None) == (name in ("bspline3", "bspline5", "backprojection"))
    for scale in ("2", "2.5"):
        helpers.keeps_a_flip(model, scale)
        if model.receptive_field is not None:
            helpers.tiles_give_the_whole(model, scale)
    helpers.is_close_in_bfloat16(model)


@pytest.mark.parametrize(("name", "args"), NETWORKS)
def test_a_network_comes_back_from_its_file_alone(name: str, args: dict[str, object], tmp_path: Path) -> None:
    helpers.comes_back_from_its_file_alone(name, args, tmp_path)


@pytest.mark.parametrize(("blocks", "millions"), [(16, 1.37), (64, 4.91)])
def test_the_sizes_are_those_of_the_paper_s_two_readings(blocks: int, millions: float) -> None:
    with torch.device("meta"):
        count = build({"name": "mesr", "args": {"blocks": blocks}}).parameter_count
    assert count / 1e6 == pytest.approx(millions, abs=0.005)
    assert count <= 5_100_000


@pytest.mark.parametrize("stem", ["difference", "gated"])
@pytest.mark.parametrize("level", [-1000, -100, 0, 40, 1000, 3000])
def test_a_flat_slab_stays_flat_at_ten_scales(level: int, stem: str) -> None:
    """HU mean within 1 and ripple under 1, for any weights: the features see differences only."""
    torch.manual_seed(3)
    model = build({"name": "mesr", "args": {"blocks": 4, "stem": stem}}).eval()
    torch.nn.init.normal_(model.head.outer.weight, std=0.025)  # type: ignore[union-attr, arg-type]
    image = torch.full((1, 1, 24, 24), (level + 1000) / 2000)
    for scale in ("1.1", "1.37", "1.5", "2", "2.5", "3", "3.14159265", "3.5", "4", "1.3x2.2"):
        found = helpers.run(model, image, scale) * 2000 - 1000
        assert abs(float(found.mean()) - level) < 0.1, scale
        assert float(found.max() - found.min()) < 0.1, scale


@pytest.mark.parametrize("name", weights.shipped())
def test_shipped_weights_keep_flat_slabs_flat(name: str) -> None:
    model, _ = weights.load(name)
    for level in (-1000, -100, 0, 1000, 3000):
        image = torch.full((1, 1, 16, 16), (level + 1000) / 2000)
        for scale in ("1.1", "1.37", "1.5", "2", "2.5", "3", "3.14159265", "3.5", "4", "1.3x2.2"):
            found = helpers.run(model, image, scale) * 2000 - 1000
            assert abs(float(found.mean()) - level) < 1, scale
            assert float(found.max() - found.min()) < 1, scale


@pytest.mark.parametrize("name", weights.shipped())
def test_shipped_weights_draw_no_lattice_on_even_ground(name: str) -> None:
    """Tissue of 40 HU under noise of 15, with grains as a soft kernel's: each place within a pixel has the same mean."""
    model, _ = weights.load(name)
    noise = torch.randn(4, 1, 80, 80, generator=torch.Generator().manual_seed(5))
    grains = torch.nn.functional.avg_pool2d(noise, 3, 1)
    image = (1040 + 15 * grains / grains.std()) / 2000
    for scale in (2, 3, 4):
        found = (
            torch.cat([helpers.run(model, one[None], str(scale)) for one in image], dim=2) * 2000
        ).numpy()
        assert lattice(found[0, 0], np.zeros_like(found[0, 0]), scale) < 1.5, scale


def test_intensities_may_be_scaled_and_shifted() -> None:
    torch.manual_seed(4)
    model = build({"name": "mesr", "args": {"blocks": 2}}).eval()
    image = helpers.plane(20, 20, "2.5")
    moved = helpers.run(model, 3 * image + 0.7, "2.5")
    torch.testing.assert_close(moved, 3 * helpers.run(model, image, "2.5") + 0.7, atol=1e-5, rtol=0)


def test_a_gated_stem_knows_the_level_within_its_range_only() -> None:
    """Moved from soft tissue to bone the detail changes; beyond the range all is alike."""
    torch.manual_seed(4)
    model = build({"name": "mesr", "args": {"blocks": 2, "stem": "gated"}}).eval()
    image = helpers.plane(20, 20, "2.5") * 0.1
    soft, bone, metal, more = (
        helpers.run(model, image + level, "2.5") - level for level in (0.5, 0.8, 1.2, 3)
    )
    changed = (soft - bone).abs().max()
    assert changed > 10 * (metal - more).abs().max()
    torch.testing.assert_close(metal, more, atol=1e-5, rtol=0)


def test_a_gated_stem_knows_the_contrast_within_its_range_only() -> None:
    """Where every level counts as the end of its range, scaling commutes for contrasts that do so too, and for no others."""
    torch.manual_seed(4)
    model = build({"name": "mesr", "args": {"blocks": 2, "stem": "gated"}}).eval()
    chessboard = ((torch.arange(20)[:, None] + torch.arange(20)) % 2).float()[None, None]
    for contrast, commutes in ((0.7, True), (0.1, False)):
        once, thrice = (helpers.run(model, 2 + times * contrast * chessboard, "2.5") - 2 for times in (1, 3))
        apart = float((thrice - 3 * once).abs().max() / thrice.abs().max())
        assert (apart < 1e-5) == commutes, apart


def test_the_receptive_field_is_what_a_model_says() -> None:
    torch.manual_seed(5)
    model = build({"name": "mesr", "args": {"blocks": 2, "features": 8}}).eval()
    assert model.receptive_field == 7
    image = torch.rand(1, 1, 33, 33)
    touched = image.clone()
    touched[..., 16, 16] += 1.0
    change = (helpers.run(model, touched, "1") - helpers.run(model, image, "1"))[0, 0].abs()
    rows = change.amax(dim=1).nonzero().flatten()
    assert rows.min() >= 16 - model.receptive_field
    assert rows.max() <= 16 + model.receptive_field


def test_back_projection_agrees_with_its_input() -> None:
    image = helpers.plane(24, 24, "2")
    from mesr.grid import Target
    from mesr.models.interpolators import reversed_axis
    from mesr.resample import resize

    grid = Target.of(scale=2).grid((1, 24, 24), None)
    rows, columns = reversed_axis(grid.rows), reversed_axis(grid.columns)
    errors = [
        (resize(helpers.run(build({"name": name}), image, "2"), rows, columns, "bicubic") - image).abs().max()
        for name in ("sinc", "backprojection")
    ]
    assert errors[1] < 0.05 * errors[0]


def test_an_unknown_architecture_or_argument_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as wrong_name:
        build({"name": "mesrr"})
    assert "'mesr'" in wrong_name.value.fix
    with pytest.raises(UsageError) as wrong_argument:
        build({"name": "mesr", "args": {"block": 3}})
    assert "'blocks'" in wrong_argument.value.fix


@pytest.mark.parametrize("corrections", [-1, 1.5, "two", 31])
def test_corrections_that_make_no_sense_are_refused(corrections: object) -> None:
    with pytest.raises(UsageError, match="whole number"):
        build({"name": "mesr", "args": {"corrections": corrections}})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("blocks", -1),
        ("blocks", "abc"),
        ("blocks", True),
        ("features", 0),
        ("skip", "cubic"),
        ("bias", 1),
        ("max_scale", "4"),
    ],
)
def test_an_argument_unlike_its_default_is_refused_in_a_sentence(argument: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{argument} of the architecture mesr must be") as refused:
        build({"name": "mesr", "args": {argument: value}})
    assert refused.value.code == "architecture"


@pytest.mark.parametrize("name", ["mesr", "mesr-shuffled"])
@pytest.mark.parametrize("stem", ["gatd", "Gated", None])
def test_a_stem_that_does_not_exist_is_refused(name: str, stem: object) -> None:
    with pytest.raises(UsageError, match="difference, gated, plain"):
        build({"name": name, "args": {"stem": stem}})
