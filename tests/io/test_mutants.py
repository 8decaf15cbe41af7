"""Seeded mutants of real files through the reader: refused in a sentence, or what pydicom and numpy give.

`MESR_MUTANTS=50000` runs more of them; `python tests/io/test_mutants.py` lets atheris choose (by hand, if installed).
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from mutants import mutant, originals, values_by_pydicom

from mesr import io
from mesr.errors import MesrError

COUNT = int(os.environ.get("MESR_MUTANTS", "5500"))
PARTS = 11
SLOW = 10.0
MOST_KIB = 256 << 10
"""What reading files of a few KiB may add to the process's memory, whatever they claim to be."""


@pytest.mark.parametrize("part", range(PARTS))
def test_a_mutant_is_refused_or_read_as_it_says(part: int, tmp_path: Path) -> None:
    read, held = 0, _peak()
    for number in range(part * COUNT // PARTS, (part + 1) * COUNT // PARTS):
        began = time.perf_counter()
        read += _asked(mutant(number, tmp_path), number)
        assert time.perf_counter() - began < SLOW, number
        assert _peak() - held < MOST_KIB, number
    # Most changes fall into pixels, where a file stays one.
    assert read > 0


def test_every_original_is_read(tmp_path: Path) -> None:
    for name, data in originals():
        (tmp_path / name).write_bytes(data)
        assert _asked(tmp_path / name, 0) == 1, name


def _peak() -> int:
    """The most memory that this process ever had, KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _asked(path: Path, number: int) -> int:
    """How many volumes were read from a file; anything but a refusal or right values fails."""
    try:
        found = io.discover([path])
    except MesrError:
        return 0
    read = 0
    for item in found.items:
        try:
            volume = item.open()
            slices = [volume.slices[k] for k in range(min(len(volume.slices), 4))]
        except MesrError:
            continue
        read += 1
        assert all(np.isfinite(one.values).all() for one in slices), number
        assert all(one.values.shape == volume.geometry.size[1:] for one in slices), number
        if path.suffix == ".dcm" and len(volume.slices) == 1:
            _compare(path, slices[0].values, number)
    return read


def _compare(path: Path, values: np.ndarray, number: int) -> None:
    """With pydicom and numpy, where they read the file at all."""
    expected = values_by_pydicom(path)
    if expected is not None and expected.shape == values.shape:
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-3, err_msg=str(number))


def _fuzz() -> None:
    """Let atheris look for bytes that break the reader; Ctrl-C ends it."""
    import atheris

    with tempfile.TemporaryDirectory() as folder:

        def one(data: bytes) -> None:
            path = (
                Path(folder)
                / f"file{('.dcm', '.nii', '.nrrd', '.npy', '.png', '.zip')[data[0] % 6 if data else 0]}"
            )
            path.write_bytes(data[1:])
            _asked(path, 0)

        atheris.Setup(sys.argv, one)
        atheris.Fuzz()


if __name__ == "__main__":
    _fuzz()
