"""Counts of parameters and multiply-adds, and the table of the documentation that shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesr.models.cost import cost
from mesr.models.registry import blueprint

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "systems.md"


def _rows() -> list[tuple[dict[str, Any], list[str]]]:
    """The rows of the page's table of systems: the spec in its second cell, and the cells after it."""
    rows = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        spec = re.fullmatch(r"`(\{name: .*\})`", cells[1]) if len(cells) > 3 else None
        if spec:
            rows.append((yaml.safe_load(spec[1]), cells[2:]))
    return rows


def test_a_convolution_counts_its_kernel_at_every_pixel_it_makes() -> None:
    """EDSR of one block of 16 channels at ×2: what acts on the result counts four times."""
    found = cost({"name": "edsr", "args": {"blocks": 1, "features": 16}})
    low, high = 9 * (16 + 3 * 16 * 16 + 16 * 64), 9 * 16
    assert found.pixel == low + 4 * high
    assert found.patch == 48 * 48 * found.pixel
    assert found.parameters == low + high + 4 * 16 + 64 + 1


def test_interpolation_is_not_counted() -> None:
    """SRCNN 9-1-5 on the bicubic image at ×2: three convolutions, four times."""
    found = cost({"name": "srcnn", "args": {"middle": 1}})
    assert found.pixel == 4 * (81 * 64 + 64 * 32 + 25 * 32)


@pytest.mark.parametrize("hidden", [1, 256])
def test_a_head_s_kernels_act_on_every_output_and_making_them_is_free(hidden: int) -> None:
    """At ×2 four kernels serve all pixels; the perceptron that makes them runs once a slice, however large it is."""
    whole = cost({"name": "miassr", "args": {"blocks": 1, "features": 16, "hidden": hidden}}).pixel
    assert whole == 9 * (16 + 3 * 16 * 16) + 4 * 9 * 16


def test_the_page_of_systems_gives_every_count() -> None:
    rows = _rows()
    assert len(rows) >= 13
    for spec, (parameters, *_) in rows:
        assert parameters == f"{blueprint(spec).parameter_count / 1e6:.3g} M", spec


@pytest.mark.slow
def test_the_page_of_systems_gives_every_multiply_add() -> None:
    for spec, (_, pixel, patch, *_) in _rows():
        found = cost(spec)
        assert pixel == f"{found.pixel / 1e6:.3g} M", spec
        assert patch == f"{found.patch / 1e9:.3g} G", spec
