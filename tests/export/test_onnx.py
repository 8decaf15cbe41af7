"""Exported networks: onnxruntime's answers, at sizes and scales the file was not made at; and what the file says."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from mesr.errors import MesrError, OutputError, UsageError
from mesr.export import TOLERANCE, grid_arrays, save_onnx
from mesr.export import file as exporting
from mesr.grid import Axis, Grid
from mesr.models import SuperResolver, build, weights
from mesr.models.weights import Card

SMALL = {"blocks": 1, "features": 16, "hidden": 16}
NETWORKS = {
    "centred": ("mesr", {**SMALL, "corrections": 2}),
    "turned": ("mesr", {**SMALL, "corrections": 1, "orientations": 4}),
    "gated": ("mesr", {**SMALL, "stem": "gated"}),
    "below": ("mesr", {**SMALL, "coordinates": "below", "corrections": 1}),
    "as-printed": ("mesr-paper", SMALL),
    "on-equal-terms": ("equal-any", {"architecture": "miassr", "args": SMALL}),
    "meta-rdn": ("meta-rdn", {"blocks": 1, "layers": 2, "growth": 16, "features": 16, "hidden": 16}),
}


def _made(architecture: str, args: dict[str, Any]) -> tuple[SuperResolver, Card]:
    torch.manual_seed(0)
    spec = {"name": architecture, "args": args}
    model = build(spec).eval().requires_grad_(False)
    return model, Card("mine", spec, "0" * 64, {"training": {"scales": [1, 4]}})


def _asked(path: Path, model: SuperResolver, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """onnxruntime's and PyTorch's answer on a grid."""
    shape = (3, 1, grid.rows.size_in, grid.columns.size_in)
    lr = np.random.default_rng(1).random(shape, dtype=np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given: dict[str, Any] = {"lr": lr}
    if len(session.get_inputs()) > 1:
        given |= grid_arrays(model, grid)
    with torch.inference_mode():
        wanted = model.whole(torch.from_numpy(lr), grid).numpy()
    return session.run(None, given)[0], wanted


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("scale", ["2", "2.5"])
def test_one_scale_at_any_size(tmp_path: Path, network: str, scale: str) -> None:
    model, card = _made(*NETWORKS[network])
    path = tmp_path / "one.onnx"
    told = save_onnx(model, card, path, Fraction(scale))
    assert told.difference <= TOLERANCE
    for height, width in ((11, 40), (1, 2)):
        grid = Grid.plane(Axis.scaled(height, Fraction(scale)), Axis.scaled(width, Fraction(scale)))
        found, wanted = _asked(path, model, grid)
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_any_scale_with_the_grid_as_an_input(tmp_path: Path, network: str) -> None:
    model, card = _made(*NETWORKS[network])
    path = tmp_path / "any.onnx"
    save_onnx(model, card, path)
    for rows, columns in (("1", "4"), ("3.14159", "3.14159"), ("1.3", "2.2")):
        grid = Grid.plane(Axis.scaled(21, Fraction(rows)), Axis.scaled(13, Fraction(columns)))
        found, wanted = _asked(path, model, grid)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    spaced = Axis.spaced(30, Fraction("0.7"), Fraction("0.31"), exact=True)
    found, wanted = _asked(path, model, Grid.plane(spaced, spaced))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("edsr", {"blocks": 1, "features": 16}),
        ("mesr-shuffled", {"blocks": 1, "features": 16}),
        ("equal-fixed", {"architecture": "edsr", "args": {"blocks": 1, "features": 16}}),
    ],
)
def test_a_network_of_one_scale(tmp_path: Path, name: str, args: dict[str, object]) -> None:
    model, card = _made(name, args | {"scale": 2})
    save_onnx(model, card, tmp_path / "edsr.onnx", Fraction(2))
    axis = Axis.scaled(9, Fraction(2))
    found, wanted = _asked(tmp_path / "edsr.onnx", model, Grid.plane(axis, axis))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    with pytest.raises(UsageError, match="is of one scale, ×2"):
        save_onnx(model, card, tmp_path / "other.onnx", Fraction(3))


def test_the_file_carries_its_spec(tmp_path: Path) -> None:
    model, card = _made(*NETWORKS["centred"])
    save_onnx(model, card, tmp_path / "m.onnx", Fraction(3, 2))
    told = {one.key: one.value for one in onnx.load(tmp_path / "m.onnx").metadata_props}
    about = json.loads(told["mesr"])
    assert about["spec"] == card.spec
    assert about["weights_id"] == card.weights_id
    assert about["scale"] == "3/2"
    assert about["window"] == {"CT": [-1000.0, 1000.0]}


def test_a_file_that_differs_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, card = _made(*NETWORKS["centred"])
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(MesrError, match="must give PyTorch's answers") as refused:
        save_onnx(model, card, tmp_path / "m.onnx", Fraction(2))
    assert refused.value.code == "export-differs"
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    model, card = _made(*NETWORKS["centred"])
    (tmp_path / "m.onnx").write_bytes(b"mine")
    with pytest.raises(OutputError):
        save_onnx(model, card, tmp_path / "m.onnx", Fraction(2))
    assert (tmp_path / "m.onnx").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "scale", "sentence"),
    [("sinc", "2", "can be exported"), ("mesr-lite-3", "0.5", "scales any from 1 to 4")],
)
def test_what_has_no_graph_is_refused(tmp_path: Path, name: str, scale: str, sentence: str) -> None:
    model, card = weights.load(name)
    with pytest.raises(UsageError, match=sentence):
        save_onnx(model, card, tmp_path / "m.onnx", Fraction(scale))
