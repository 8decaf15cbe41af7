"""The program's log: only where it is asked for, only ours, and without patient data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scans import dicom_series
from tiny import tiny_weights

PATIENT = "logging.getLogger('pydicom').error('ZZPHI'); logging.getLogger().error('ZZPHI'); "


def _said(options: list[str], folder: Path) -> str:
    """What the program writes to stderr while libraries log patient data."""
    dicom_series(folder / "in", size=(1, 12, 10))
    model = tiny_weights(folder / "w.safetensors")
    started = (
        "import mesr.cli.upscale as door, logging\n"
        "from mesr import job\n"
        "run = job.run\n"
        f"def talkative(*a, **k):\n    {PATIENT}return run(*a, **k)\n"
        "job.run = talkative\n"
        "from mesr.cli import main\n"
        "main()\n"
    )
    command = [
        sys.executable,
        "-c",
        started,
        *options,
        "upscale",
        str(folder / "in"),
        "-o",
        str(folder / "out"),
    ]
    command += ["--scale", "2", "--model", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_nothing_is_logged_unasked(tmp_path: Path) -> None:
    assert _said([], tmp_path) == ""


@pytest.mark.parametrize("form", ["text", "json"])
def test_our_records_alone_are_logged_without_patient_data_or_paths(form: str, tmp_path: Path) -> None:
    said = _said(["--log-level", "info"] if form == "text" else ["--log-json"], tmp_path)
    assert "tiles of" in said
    assert "ZZPHI" not in said
    assert str(tmp_path) not in said
    if form == "json":
        records = [json.loads(line) for line in said.splitlines()]
        assert {record["level"] for record in records} == {"info"}
        assert all(record["logger"].startswith("mesr.") for record in records)
