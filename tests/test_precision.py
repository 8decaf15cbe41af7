"""What bfloat16 convolutions change in the results of the shipped networks, on a real CT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

import mesr
from mesr.evaluate import degraded
from mesr.grid import fraction
from mesr.inference import Options, Upscaler
from mesr.intensity import HU_WINDOW
from mesr.metrics import psnr
from mesr.models import weights

pytestmark = pytest.mark.slow

SCALE = fraction(2)


@pytest.mark.parametrize("name", weights.shipped())
def test_bfloat16_moves_a_result_by_less_than_anyone_sees(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    head = Path(str(get_testdata_file("J2K_pixelrep_mismatch.dcm", download=False)))
    pair = degraded(HU_WINDOW.forward(mesr.read(head).slices[0].values), (SCALE, SCALE))
    model, _ = weights.load(name)
    images = [
        Upscaler(model, pair.grid, HU_WINDOW, Options("cpu", precision)).compute(HU_WINDOW.inverse(pair.lr))
        for precision in ("float32", "bf16")
    ]
    exact, quick = (psnr(HU_WINDOW.forward(image), pair.hr, pair.border) for image in images)
    change = np.abs(images[1] - images[0])
    record_property("largest_hu", float(change.max()))
    assert 0 < change.mean() <= 0.5
    assert change.max() <= 25
    assert quick >= exact - 0.01
