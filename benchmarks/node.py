"""A thousand objects from Orthanc to the node and back, at the rate Orthanc sends them: none lost, none doubled.

    python benchmarks/node.py --objects 1000 --rows 256

It needs Orthanc (Debian: orthanc, orthanc-dicomweb) and the extra [node]. Two series of half the objects each go to the
node in one job of Orthanc, twice; results come back by C-STORE. `--kill 5` also kills the node so often while they do,
and `--full` gives it a spool (a small file system of its own) that runs full on the way. What is printed is measured;
anything lost or doubled ends it with an error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import yaml
from orthanc import Orthanc, orthanc
from peers import settings, wait_until
from scans import dicom_series

WAIT_SECONDS = 900.0


class Node:
    """`mesr node` in a process of its own."""

    def __init__(self, folder: Path, values: dict[str, object]) -> None:
        self._path = folder / "node.yaml"
        self._path.write_text(yaml.safe_dump(values))
        self._about = Path(str(values["spool"])) / "node.json"
        self._log = (folder / "node.log").open("ab")
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._about.unlink(missing_ok=True)
        command = [sys.executable, "-c", "from mesr.cli import main; main()", "node", str(self._path)]
        self.process = subprocess.Popen(command, stderr=self._log)
        wait_until(self._about.is_file, 60)

    @property
    def port(self) -> int:
        return int(json.loads(self._about.read_text())["dicom_port"])

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        self.process.send_signal(number)
        self.process.wait(60)


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of so many MiB; needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def tell(pacs: Orthanc, node: Node) -> None:
    """Let Orthanc know where the node listens."""
    pacs.ask(
        "/modalities/mesr", {"AET": "MESR", "Host": "127.0.0.1", "Port": node.port, "Timeout": 30}, "PUT"
    )


def send(pacs: Orthanc, series: list[str], node: Node) -> float:
    """Let Orthanc send series in one job, again where it failed; seconds of the attempt that did not."""
    for _ in range(100):
        tell(pacs, node)
        began = time.monotonic()
        job = pacs.ask("/modalities/mesr/store", {"Resources": series, "Synchronous": False})["ID"]
        while pacs.ask(f"/jobs/{job}")["State"] in ("Running", "Pending", "Retry"):
            time.sleep(0.02)
        if pacs.ask(f"/jobs/{job}")["State"] == "Success":
            return time.monotonic() - began
        time.sleep(0.5)
    raise SystemExit("Orthanc could not send")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pacs = stack.enter_context(orthanc(folder / "orthanc"))
        half = given.objects // 2
        for n in range(2):
            scan = dicom_series(
                folder / f"in{n}",
                size=(half, given.rows, given.rows),
                series=f"1.2.3.{n}",
                series_number=n + 1,
            )
            for path in scan.paths:
                pacs.ask("/instances", path.read_bytes())
        to = {"type": "c-store", "name": "pacs", "host": "127.0.0.1", "port": pacs.dicom, "called": "ORTHANC"}
        rule = {"name": "twice", "model": "nearest", "scale": 2, "count": half}
        changes = {"listen": {"calling": ["ORTHANC"], "port": 0}, "rules": [rule], "destinations": [to]}
        values = settings(folder, 1, **changes, quiet_seconds=3600)
        if given.full:
            # Room for what arrives and for one result and a half; what the node keeps is deleted once delivered.
            room = (2 * half * given.rows**2 * 2 + 17 * half * 4 * given.rows**2 * 2 // 10) >> 20
            disk = stack.enter_context(small_disk(folder / "disk", room))
            values |= {"spool": str(disk / "spool"), "keep_hours": 0, "min_free_mib": 4}
        node = Node(folder, values)
        try:
            measure(pacs, node, half, given.kill)
        finally:
            node.stop()
        sys.stdout.write((folder / "node.log").read_text()[-3000:])


def measure(pacs: Orthanc, node: Node, half: int, kills: int) -> None:
    """Send, kill, wait, count."""
    series = pacs.ask("/series")
    began = time.monotonic()
    if kills:
        for k in range(kills):
            tell(pacs, node)
            pacs.ask("/modalities/mesr/store", {"Resources": series, "Synchronous": False})
            time.sleep(0.4 + 0.3 * k)
            node.stop(signal.SIGKILL)
            node.start()
    seconds = send(pacs, series, node)
    print(f"{2 * half} objects received in {seconds:.1f} s: {2 * half / seconds:.0f} a second")
    wait_until(lambda: pacs.ask("/statistics")["CountInstances"] >= 4 * half, WAIT_SECONDS)
    print(f"all results in Orthanc {time.monotonic() - began:.1f} s after the first was sent")
    again = send(pacs, series, node)
    print(f"sent again in {again:.1f} s: {2 * half / again:.0f} a second")
    # Whatever a second job or a doubled object would make has time to arrive.
    time.sleep(5)
    counted = pacs.ask("/statistics")
    found = (counted["CountStudies"], counted["CountSeries"], counted["CountInstances"])
    print(f"Orthanc holds {found[0]} study, {found[1]} series, {found[2]} objects")
    if found != (1, 4, 4 * half):
        raise SystemExit("objects were lost or doubled")


if __name__ == "__main__":
    main()
