"""Time and peak memory of studies of growing length, files to files.

    python benchmarks/study.py --slices 200 2000 --model bicubic --scale 1.25

Each study is a series of 512² slices (or of their middle, `--size`) made of pydicom's own head CT in a temporary
folder (0.5 MB a slice, and the result beside it). `mesr upscale` runs on it in a process of its own, whose peak resident memory should not depend
on the number of slices. With `--body` the body of the network alone is timed before and after it, whole and in memory,
and what the study takes is given as a multiple of that.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

UID = "1.2.826.0.1.3680043.8.498.77"


def make_series(folder: Path, slices: int, size: int = 512) -> None:
    """Write `slices` parallel slices a millimetre apart, each with a mark of its own; `size` is along a side."""
    source = pydicom.dcmread(str(get_testdata_file("J2K_pixelrep_mismatch.dcm", download=False)))
    first = (512 - size) // 2
    pixels = source.pixel_array[first : first + size, first : first + size].copy()
    source.Rows = source.Columns = size
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    source.SeriesInstanceUID, source.FrameOfReferenceUID = f"{UID}.{slices}", f"{UID}.1"
    source.SliceThickness = 1
    folder.mkdir()
    for n in range(slices):
        one = copy.copy(source)
        pixels[0, :4] = [n % 256, n // 256, 0, 0]
        one.PixelData = pixels.tobytes()
        one["PixelData"].VR = "OW"
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{UID}.{slices}.{n + 1}"
        one.ImagePositionPatient, one.InstanceNumber, one.SliceLocation = [-120, -120, n], n + 1, n
        one.save_as(folder / f"{n:05d}.dcm", enforce_file_format=True)


def run(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of a command's process; its output goes to standard error.

    Raises:
        SystemExit: the command failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def body_seconds(model: str, size: int) -> float:
    """Median wall seconds of the body on a slice, as the command computes it, in a process of its own."""
    told = subprocess.run(
        [sys.executable, __file__, "--time-body", model, "--size", str(size)],
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(told.stdout)


def time_body(name: str, size: int) -> None:
    """Print what `body_seconds` reads."""
    import torch

    from mesr import runtime
    from mesr.device import use_bf16
    from mesr.models import weights

    runtime.keep_memory()
    model, _ = weights.load(name)
    lr = torch.rand(1, 1, size, size)
    times = []
    bf16 = use_bf16("auto", lr.device)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for _ in range(12):
            started = time.perf_counter()
            model.encode(lr)
            times.append(time.perf_counter() - started)
    print(statistics.median(times[2:]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--model", default="bicubic")
    parser.add_argument("--scale", default="1.25")
    parser.add_argument("--size", type=int, default=512, help="pixels along a slice, at most 512")
    parser.add_argument("--body", action="store_true", help="compare with the body alone")
    parser.add_argument("--json", type=Path, help="save what was measured")
    parser.add_argument("--time-body", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.time_body:
        time_body(arguments.time_body, arguments.size)
        return
    studies = []
    mesr = [sys.executable, "-m", "mesr"]
    for slices in arguments.slices:
        with tempfile.TemporaryDirectory() as scratch:
            source, out = Path(scratch, "study"), Path(scratch, "finer")
            make_series(source, slices, arguments.size)
            before = body_seconds(arguments.model, arguments.size) if arguments.body else 0.0
            command = [*mesr, "upscale", str(source), "-o", str(out), "--scale", arguments.scale]
            seconds, peak = run([*command, "--model", arguments.model])
            written = sum(1 for _ in out.rglob("*.dcm"))
        print(
            f"{slices} slices: {written} written in {seconds:.0f} s, {slices / seconds:.1f} a second, peak {peak:.0f} MB"
        )
        studies.append({"slices": slices, "written": written, "seconds": seconds, "peak_mb": peak})
        if arguments.body:
            body = (before + body_seconds(arguments.model, arguments.size)) / 2
            studies[-1]["body_seconds"] = body
            print(f"the body alone: {body:.3f} s a slice; the study {seconds / slices / body:.2f} times that")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(studies, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
