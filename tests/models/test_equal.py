"""Networks on equal terms: they add to bicubic, with centred coordinates, and are otherwise what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import model_questions as helpers
import pytest
import torch

from mesr.errors import UsageError, WeightsError
from mesr.models import build, weights
from mesr.models.family import join

FIXED: dict[str, Any] = {"architecture": "edsr", "args": {"blocks": 1, "features": 8}}
FREE: dict[str, Any] = {
    "architecture": "meta-rdn",
    "args": {"blocks": 1, "layers": 1, "growth": 4, "features": 8, "hidden": 8},
}


def _silenced(name: str, args: dict[str, Any]) -> Any:
    """The network with nothing to say: all that is left is the skip."""
    model = build({"name": name, "args": args}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


@pytest.mark.parametrize(("name", "args"), [("equal-fixed", FIXED), ("equal-any", FREE)])
def test_a_silent_network_is_bicubic(name: str, args: dict[str, Any]) -> None:
    image = helpers.plane(12, 14, "2")
    found = helpers.run(_silenced(name, args), image, "2")
    torch.testing.assert_close(found, helpers.run(build({"name": "bicubic"}), image, "2"), atol=1e-6, rtol=0)


def test_layers_keep_the_names_that_the_optimiser_goes_by() -> None:
    bare = build({"name": "meta-rdn", "args": FREE["args"]})
    assert build({"name": "equal-any", "args": FREE}).state_dict().keys() == bare.state_dict().keys()


def test_the_head_counts_offsets_from_the_nearest_pixel() -> None:
    head: Any = build({"name": "equal-any", "args": FREE}).head
    assert head.coordinates == "nearest"


def test_the_head_begins_as_the_one_of_mesr_does() -> None:
    """As many hidden values change over the offsets, none of them linear over all."""
    steps = torch.linspace(-0.5, 0.5, 9)
    offsets = torch.cartesian_prod(steps, steps, torch.tensor([0.5]), torch.tensor([0.5]))

    def bent(model: Any) -> int:
        with torch.no_grad():
            positive = model.head.inner(offsets) > 0
        return int((positive.any(0) & ~positive.all(0)).sum())

    torch.manual_seed(0)
    own = bent(build({"name": "mesr", "args": {"blocks": 1, "features": 8}}))
    other = bent(
        build({"name": "equal-any", "args": {"architecture": "miassr", "args": {"blocks": 1, "features": 8}}})
    )
    assert own > 200
    assert other > 200


@pytest.mark.parametrize(("name", "args"), [("equal-fixed", FIXED), ("equal-any", FREE)])
def test_it_answers_like_any_other_and_comes_back_from_its_file(
    name: str, args: dict[str, Any], tmp_path: Path
) -> None:
    helpers.answers_every_size(build({"name": name, "args": args}).eval())
    helpers.comes_back_from_its_file_alone(name, args, tmp_path)


def test_members_join_a_family_that_answers_every_scale() -> None:
    specs = [{"name": "equal-fixed", "args": FIXED | {"scale": scale}} for scale in (2, 3)]
    spec, family = join([(one, build(one).eval()) for one in specs])
    assert spec["args"]["members"] == [2, 3]
    image = helpers.plane(12, 14, "2")
    torch.testing.assert_close(
        helpers.run(family, image, "2"), helpers.run(family.members["2"], image, "2"), atol=0, rtol=0
    )
    assert helpers.run(family, image, "2.5").shape == (1, 1, 30, 35)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("equal-fixed", "mesr"),
        ("equal-any", "edsr"),
        ("equal-any", "equal-any"),
        ("equal-fixed", "equal-fixed"),
    ],
)
def test_what_has_no_such_form_is_refused(name: str, architecture: str) -> None:
    with pytest.raises(UsageError, match="architecture"):
        build({"name": name, "args": {"architecture": architecture}})


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("equal-any", {"architecture": "mesr"}),
        ("equal-any", {"architecture": "mesr", "args": {"skip": "none", "corrections": 2}}),
        ("equal-fixed", {"architecture": "at-one-scale", "args": {"architecture": "vdsr"}}),
        ("equal-fixed", {"architecture": "at-one-scale", "args": {"architecture": "srcnn"}}),
    ],
)
def test_the_image_is_not_added_twice(name: str, args: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="cannot be put on equal terms"):
        build({"name": name, "args": args})


def test_a_size_too_large_is_refused_however_deep_it_lies(tmp_path: Path) -> None:
    inside = {"architecture": "edsr", "args": {"features": 1 << 20}}
    spec = {"name": "family", "args": {"architecture": "equal-fixed", "args": inside, "members": [2]}}
    weights.save(tmp_path / "a.safetensors", "a", spec, {}, {})
    with pytest.raises(WeightsError, match="size above"):
        weights.load(tmp_path / "a.safetensors")
