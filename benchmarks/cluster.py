"""A Ray cluster of two nodes on this machine: every study once with a worker killed, and how two workers compare to one.

    python benchmarks/cluster.py once --studies 200
    python benchmarks/cluster.py speed --studies 12 --slices 16 --model mesr-lite-3

Studies are the middle of pydicom's own head CT. `once` takes one slice each, kills a worker with SIGKILL when a quarter
is done and compares every file with what one machine makes. `speed` gives results a second between the first and the
last one, with one worker and with two, each of one thread: starting Ray and reading the weights is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from outputs import content
from ray_nodes import LOOPBACK, Nodes, two_nodes, until

from mesr import job
from mesr.cluster.journal import FOLDER
from mesr.grid import Target


def make_studies(folder: Path, count: int, side: int, slices: int = 1) -> None:
    """Write `count` studies of some slices of `side`² pixels a millimetre apart, no two alike."""
    source = pydicom.dcmread(str(get_testdata_file("J2K_pixelrep_mismatch.dcm", download=False)))
    first = (source.Rows - side) // 2
    pixels = source.pixel_array[first : first + side, first : first + side].copy()
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source.Rows = source.Columns = side
    source.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for n in range(count):
        place = folder / f"{n:04d}"
        place.mkdir(parents=True)
        source.StudyInstanceUID = generate_uid(entropy_srcs=["study", str(n)])
        source.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(n)])
        for k in range(slices):
            pixels[0, :2] = n, k
            source.PixelData = pixels.tobytes()
            source.SOPInstanceUID = generate_uid(entropy_srcs=["object", str(n), str(k)])
            source.file_meta.MediaStorageSOPInstanceUID = source.SOPInstanceUID
            source.ImagePositionPatient, source.InstanceNumber = [-120, -120, k], k + 1
            source.save_as(place / f"{k:03d}.dcm")


def start(nodes: Nodes, studies: Path, out: Path, model: str, workers: int) -> subprocess.Popen[str]:
    """`mesr upscale --cluster` on the nodes."""
    words = [
        sys.executable, "-m", "mesr", "upscale", str(studies), "-o", str(out), "--scale", "2", "--model", model,
        "--cluster", "--workers", str(workers), "--report", f"{out}.json",
    ]  # fmt: skip
    return subprocess.Popen(
        words, env=os.environ | {"RAY_ADDRESS": nodes.address, **LOOPBACK}, stdout=subprocess.PIPE, text=True
    )


def results(out: Path) -> list[Path]:
    """The results there are."""
    return [place for place in out.glob("*") if place.is_dir() and place.name != FOLDER]


def once(nodes: Nodes, folder: Path, count: int, model: str) -> None:
    """Lose a worker midway; every study must be there once, as one machine makes it."""
    make_studies(folder / "in", count, 128)
    began = time.perf_counter()
    with start(nodes, folder / "in", folder / "out", model, 2) as driver:
        until(lambda: len(results(folder / "out")) >= count // 4)
        lost = nodes.lose_worker()
        done = len(results(folder / "out"))
        told, _ = driver.communicate()
    seconds = time.perf_counter() - began
    found = job.discover([folder / "in"])
    list(job.run_all(found, Target.of(scale=2), folder / "alone", job.Settings(model=model)))
    studies = json.loads((folder / "out.json").read_text(encoding="utf-8"))["studies"]
    entries = [json.loads(path.read_text()) for path in (folder / "out" / FOLDER).glob("*.json")]
    print(told.splitlines()[-1])
    print(
        f"worker {lost} killed at {done} of {count}; {seconds:.1f} s in all, exit status {driver.returncode}"
    )
    print(f"rows in the report {len(studies)}, different ids {len({study['id'] for study in studies})}")
    print(f"begun more than once: {sum(entry['attempt'] > 1 for entry in entries)}")
    print(f"equal to one machine's, file by file: {content(folder / 'out') == content(folder / 'alone')}")


def speed(nodes: Nodes, folder: Path, count: int, slices: int, model: str) -> None:
    """Results a second with one worker and with two."""
    make_studies(folder / "in", count, 256, slices)
    rates = []
    for workers in (1, 2):
        out = folder / f"out{workers}"
        with start(nodes, folder / "in", out, model, workers) as driver:
            driver.communicate()
        times = sorted(place.stat().st_mtime for place in results(out))
        # A worker's first study warms it up; after that the results of all come evenly.
        late = times[workers:]
        rates.append((len(late) - 1) / (late[-1] - late[0]))
        print(f"{workers} worker(s): {rates[-1]:.3f} results a second, {driver.returncode=}")
    print(f"ratio {rates[1] / rates[0]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["once", "speed"])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--slices", type=int, default=16, help="of each study, for speed")
    parser.add_argument("--model")
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as folder, two_nodes() as nodes:
        if arguments.what == "once":
            once(nodes, Path(folder), arguments.studies, arguments.model or "sinc")
        else:
            speed(nodes, Path(folder), arguments.studies, arguments.slices, arguments.model or "mesr-lite")


if __name__ == "__main__":
    main()
