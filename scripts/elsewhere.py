"""Train a reproduction's networks on a machine that is given little at a time: some archives there, some back.

    python scripts/elsewhere.py pack --data ../shared/data -o reproduction --to parts      # here
    python scripts/elsewhere.py train parts --work /tmp/work --at-once 12                  # there
    python scripts/elsewhere.py collect --work /tmp/work --to first                        # there, again and again
    python scripts/elsewhere.py adopt first second --data ../shared/data -o reproduction   # here

`pack` writes the configuration of every training that the folder lacks, **the prepared CT slices of the training set with
their manifest**, and the perceptual term's network as one archive, in parts. `train` keeps what parts it is shown and begins
when it has them all: so many trainings at once, dear ones first; the same call goes on where it was stopped. `collect` hands over
what has ended since the last time, as parts again, so much at most. `adopt` makes trainings of the folder of it, as if
they had run there, and `mesr reproduce` measures them.

There it needs this repository's `scripts` and `src`, and torch, numpy, yaml and safetensors.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import lzma
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402

from mesr.device import resolve_device  # noqa: E402
from mesr.errors import MesrError  # noqa: E402
from mesr.losses import looking, vgg  # noqa: E402
from mesr.models.weights import INVENTING  # noqa: E402

if TYPE_CHECKING:
    from mesr.reproduce.networks import Networks
    from mesr.reproduce.trainings import Training

SETS = ("set", "set-cbct")
JOBS, UNPACKED, GIVEN = "jobs.json", "unpacked.txt", "given.txt"
CHECKPOINTS = "torch/hub/checkpoints"
"""Where a VGG lies under TORCH_HOME."""
SLOW = 10
"""Times as dear as their multiply-adds say: steps with VGG or a critic, which work at the resolution of the result."""
MIB = 1 << 20


class Job(NamedTuple):
    """A training.

    Attributes:
        after: the one whose weights it starts from, or nothing.
        expense: multiply-adds, which order them.
        digest: of its settings, by which it is known again.
        config: as `mesr train` reads it, with paths in the working folder.
    """

    name: str
    after: str
    expense: float
    digest: str
    config: dict[str, Any]


def squeezed(values: npt.NDArray[np.int16]) -> bytes:
    """An image as the differences of a plane through three neighbours, low and high bytes apart, by LZMA."""
    left = np.diff(values, axis=1, prepend=np.int16(0))
    rest = np.diff(left, axis=0, prepend=np.int16(0))
    folded = ((rest << 1) ^ (rest >> 15)).view(np.uint16)
    planes = (folded & 255).astype(np.uint8).tobytes() + (folded >> 8).astype(np.uint8).tobytes()
    return lzma.compress(json.dumps(values.shape).encode() + b"\n" + planes, preset=6)


def restored(packed: bytes) -> npt.NDArray[np.int16]:
    """What `squeezed` was given."""
    shape, _, planes = lzma.decompress(packed).partition(b"\n")
    low, high = np.frombuffer(planes, np.uint8).reshape(2, *json.loads(shape)).astype(np.uint16)
    folded = low | (high << 8)
    rest = (folded >> 1).view(np.int16) ^ -(folded & 1).view(np.int16)
    found: npt.NDArray[np.int16] = rest.cumsum(axis=0, dtype=np.int16).cumsum(axis=1, dtype=np.int16)
    return found


def split(archive: bytes, folder: Path, size: int) -> list[Path]:
    """The archive as files of at most so many bytes, in a new folder; their names say of what they are how many."""
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty: choose another.")
    folder.mkdir(parents=True, exist_ok=True)
    name, count = hashlib.sha256(archive).hexdigest()[:12], -(-len(archive) // size)
    paths = [folder / f"{name}.{n + 1}-of-{count}.part" for n in range(count)]
    for n, path in enumerate(paths):
        path.write_bytes(archive[n * size : (n + 1) * size])
    return paths


def joined(folder: Path) -> tuple[str, bytes] | None:
    """The name and content of what `split` split; None while parts are missing."""
    parts: dict[str, dict[int, Path]] = {}
    for path in folder.glob("*.*-of-*.part"):
        name, place, _ = path.name.split(".")
        parts.setdefault(f"{name}.{place.split('-')[2]}", {})[int(place.split("-")[0])] = path
    if len(parts) > 1:
        raise SystemExit(f"{folder} holds parts of several archives.")
    for one, held in parts.items():
        name, count = one.split(".")
        if len(held) < int(count):
            return None
        archive = b"".join(held[n + 1].read_bytes() for n in range(int(count)))
        if not hashlib.sha256(archive).hexdigest().startswith(name):
            raise SystemExit(f"A part in {folder} is damaged: bring them again.")
        return name, archive
    return None


def networks(data: Path, out: Path, budget: str, network: str) -> Networks:
    """Of a reproduction's folder."""
    from mesr.reproduce.budgets import BUDGETS
    from mesr.reproduce.running import Runner
    from mesr.reproduce.sources import source
    from mesr.reproduce.trainings import Setting

    return Runner(Setting(BUDGETS[budget], source(data), network), out).networks


def trainings(of: Networks) -> dict[str, Training]:
    """Every training of the plan, by name, each after what it starts from."""
    from mesr.reproduce.plan import EXPERIMENTS, plan

    rows = [row for row in plan(EXPERIMENTS, of.setting) if not row.absent]
    return {step.name: step for row in rows for one in row.trainings for step in one.chain()}


def jobs(of: Networks, only: Sequence[str] = ()) -> list[Job]:
    """Those that are not done, of these names, and what they start from.

    Args:
        only: patterns of names; every one where empty.
    """
    from mesr.reproduce.state import digest
    from mesr.reproduce.trainings import effort, settings

    plan = trainings(of)
    asked = {
        step.name
        for name, one in plan.items()
        if not only or any(fnmatch(name, pattern) for pattern in only)
        for step in one.chain()
    }
    found = []
    for name, one in plan.items():
        if name not in asked or of.has(one):
            continue
        after = one.after.name if one.after else ""
        config = replace(
            one.config, set=SETS[bool(one.simulated)], out=f"runs/{name}", precision="float32", checkpoint_minutes=1.0,
            start=f"runs/{after}/{after}.safetensors" if after else None,
        )  # fmt: skip
        slow = SLOW if {*INVENTING} & {*config.losses} else 1
        found.append(Job(name, after, slow * effort(one), digest(settings(one)), asdict(config)))
    return found


def pack(of: Networks, todo: Sequence[Job], to: Path, size: int) -> None:
    """Write the parts.

    Raises:
        WeightsError: VGG's weights cannot be had.
    """
    buffer, plan = io.BytesIO(), trainings(of)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(JOBS, json.dumps([job._asdict() for job in todo]))
        for folder in sorted({of.training_set(plan[job.name]) for job in todo}):
            _pack_set(archive, folder)
        if any(looking(job.config["losses"]) for job in todo):
            path = vgg.cached(of.setting.vgg)
            archive.write(path, f"{CHECKPOINTS}/{path.name}")
        for name in sorted({job.after for job in todo} - {job.name for job in todo} - {""}):
            archive.write(
                of.path(plan[name]), f"runs/{name}/{name}.safetensors"
            )  # Done here, started from there.
    parts = split(buffer.getvalue(), to, size)
    print(f"{len(todo)} trainings in {len(parts)} parts, {len(buffer.getvalue()) / MIB:.0f} MiB")


def _pack_set(archive: zipfile.ZipFile, folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    archive.writestr(f"{folder.name}/manifest.json", json.dumps(manifest))
    files = [
        entry[key]
        for series in manifest["series"]
        if series["modality"] == "CT"
        for entry in series["slices"]
        for key in ("file", "paired")
        if key in entry
    ]
    with ProcessPoolExecutor() as pool:
        for file, packed in zip(
            files, pool.map(_squeezed_file, (folder / file for file in files)), strict=True
        ):
            archive.writestr(f"{folder.name}/{file}.xz", packed)


def _squeezed_file(path: Path) -> bytes:
    values = np.load(path, allow_pickle=False)
    if values.dtype != np.int16:
        raise SystemExit(f"{path.name} is no int16 image.")
    return squeezed(values)


def receive(parts: Path, work: Path) -> bool:
    """Keep the parts; whether everything is there, and unpacked."""
    store, mark = work / "parts", work / UNPACKED
    store.mkdir(parents=True, exist_ok=True)
    shown = [*parts.glob("*.part")]
    if mark.is_file():
        if any(not path.name.startswith(mark.read_text()) for path in shown):
            raise SystemExit(f"{work} holds another archive: choose another folder.")
        return True
    for path in shown:
        (store / path.name).write_bytes(path.read_bytes())
    archive = joined(store)
    if archive is None:
        return False
    with zipfile.ZipFile(io.BytesIO(archive[1])) as held, ProcessPoolExecutor() as pool:
        images = [name for name in held.namelist() if name.endswith(".xz")]
        for name in held.namelist():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            if name not in images:
                (work / name).write_bytes(held.read(name))
        targets = [work / name.removesuffix(".xz") for name in images]
        list(pool.map(_restore, (held.read(name) for name in images), targets, chunksize=8))
    mark.write_text(archive[0])
    return True


def _restore(packed: bytes, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, restored(packed))


def _jobs_of(work: Path) -> list[Job]:
    return [Job(**one) for one in json.loads((work / JOBS).read_text(encoding="utf-8"))]


def ended(work: Path, name: str) -> bool:
    """Whether a training's weights are there; they are written in one."""
    return (work / f"runs/{name}/{name}.safetensors").is_file()


def train(work: Path, at_once: int, device: str = "auto") -> bool:
    """Run what is not done until it is, dear ones first; a second call goes on. Whether everything is done."""
    todo = _jobs_of(work)
    chained = {job.name: job.expense for job in todo}
    for job in todo:  # What others start from goes with what they take.
        if job.after in chained:
            chained[job.after] += job.expense
    todo = sorted((job for job in todo if not ended(work, job.name)), key=lambda job: -chained[job.name])
    place = resolve_device(device)
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        while todo or running:
            for name, process in [*running.items()]:
                if process.poll() is not None:
                    del running[name]
                    failed += [name] * (not ended(work, name))
                    told = f"FAILED, see {_beside(work, name, 'log')}" if name in failed else "done"
                    print(f"{time.strftime('%X')} {name}: {told}", flush=True)
            ready = [job for job in todo if not job.after or ended(work, job.after)]
            for job in ready[: max(0, at_once - len(running))]:
                todo.remove(job)
                running[job.name] = _start(work, job, place)
            if todo and not ready and not running:
                print(f"without what they start from: {', '.join(job.name for job in todo)}")
                break
            time.sleep(0.5)
    finally:  # They save a checkpoint when told to stop.
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return not (failed or todo)


def _beside(work: Path, name: str, kind: str) -> Path:
    return work / "configs" / f"{name}.{kind}"


def _start(work: Path, job: Job, device: torch.device) -> subprocess.Popen[bytes]:
    config = _beside(work, job.name, "yaml")
    config.parent.mkdir(exist_ok=True)
    config.write_text(yaml.safe_dump(job.config | {"device": str(device)}), encoding="utf-8")
    _beside(work, job.name, "computed").write_text(_computed(device), encoding="utf-8")
    path = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": path,
        "TORCH_HOME": str(work / CHECKPOINTS.split("/")[0]),
    }
    with _beside(work, job.name, "log").open("ab") as log:
        command = [sys.executable, "-m", "mesr.train", str(config)]
        return subprocess.Popen(command, cwd=work, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _computed(device: torch.device) -> str:
    """In what arithmetic, and where, for the page."""
    if device.type != "cuda":
        return f"float32, {device.type}"
    return f"float32{' (TF32)' * torch.backends.cudnn.allow_tf32}, {torch.cuda.get_device_name(device)}"


def collect(work: Path, to: Path, size: int, most: int, again: Sequence[str] = ()) -> None:
    """Hand over what has ended and was not handed over before, `most` bytes of it, in parts.

    Args:
        again: names that are handed over once more, as what was handed over got lost.
    """
    given = set((work / GIVEN).read_text().split()) if (work / GIVEN).is_file() else set()
    known = _jobs_of(work)
    due = [job for job in known if ended(work, job.name) and (job.name not in given or job.name in again)]
    print(f"{sum(ended(work, job.name) for job in known)} of {len(known)} are done, {len(due)} to hand over")
    buffer, taken, total = io.BytesIO(), [], 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for job in due:
            files = [work / f"runs/{job.name}/{file}" for file in (f"{job.name}.safetensors", "log.csv")]
            total += sum(path.stat().st_size for path in files)
            if total > most and taken:
                break
            for path in files:
                archive.write(path, f"{job.name}/{path.name}")
            archive.write(_beside(work, job.name, "computed"), f"{job.name}/computed")
            archive.writestr(f"{job.name}/digest", job.digest)
            taken.append(job.name)
    if not taken:
        return
    split(buffer.getvalue(), to, size)
    with (work / GIVEN).open("a") as file:
        file.writelines(f"{name}\n" for name in taken)
    print(f"handed over: {', '.join(taken)}")


def adopt(of: Networks, folders: Iterable[Path]) -> None:
    """Make trainings of the reproduction of what `collect` handed over; what is done there stays."""
    from mesr.reproduce.state import digest
    from mesr.reproduce.trainings import settings

    plan = trainings(of)
    for folder in folders:
        archive = joined(folder)
        if archive is None:
            raise SystemExit(f"{folder} lacks parts.")
        with zipfile.ZipFile(io.BytesIO(archive[1])) as held, tempfile.TemporaryDirectory() as scratch:
            held.extractall(scratch)
            names = {path.name for path in Path(scratch).iterdir()}
            for name, one in plan.items():  # In the plan's order: a start before what starts from it.
                found = Path(scratch, name)
                if name not in names or of.has(one):
                    continue
                if (found / "digest").read_text() != digest(settings(one)):
                    print(f"{name} has other settings now and is left out.")
                    continue
                try:
                    of.adopt(one, found, (found / "computed").read_text(encoding="utf-8"))
                except MesrError as error:
                    print(f"{name} is left out. {error.sentence}")
    print(f"{sum(map(of.has, plan.values()))} of {len(plan)} trainings are done")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("pack", "adopt"):
        one = verbs.add_parser(verb)
        one.add_argument("--data", type=Path, required=True)
        one.add_argument("--budget", default="cpu")
        one.add_argument(
            "--vgg", default=vgg.at_hand(), help="vgg19 or vgg16; without it what is in the cache"
        )
        one.add_argument("-o", "--output", type=Path, required=True)
    verbs.choices["pack"].add_argument("--to", type=Path, required=True)
    verbs.choices["pack"].add_argument("--only", nargs="*", default=[], help="patterns of trainings' names")
    verbs.choices["adopt"].add_argument("folders", type=Path, nargs="+")
    for verb in ("train", "collect"):
        verbs.add_parser(verb).add_argument("--work", type=Path, required=True)
    verbs.choices["train"].add_argument("parts", type=Path)
    verbs.choices["train"].add_argument("--at-once", type=int, default=12)
    verbs.choices["train"].add_argument("--device", default="auto")
    verbs.choices["collect"].add_argument("--to", type=Path, required=True)
    verbs.choices["collect"].add_argument("--most", type=int, default=60, help="MiB in all")
    verbs.choices["collect"].add_argument("--again", nargs="*", default=[], help="names that got lost")
    for verb, size in (("pack", 44), ("collect", 15)):
        verbs.choices[verb].add_argument("--part", type=int, default=size, help="MiB a file")
    asked = parser.parse_args(arguments)
    try:
        if asked.verb == "pack":
            of = networks(asked.data, asked.output, asked.budget, asked.vgg)
            pack(of, jobs(of, asked.only), asked.to, asked.part * MIB)
        elif asked.verb == "adopt":
            adopt(networks(asked.data, asked.output, asked.budget, asked.vgg), asked.folders)
        elif asked.verb == "collect":
            collect(asked.work, asked.to, asked.part * MIB, asked.most * MIB, asked.again)
        elif not receive(asked.parts, asked.work.resolve()):
            print("not all parts are there yet")
        elif not train(asked.work.resolve(), asked.at_once, asked.device):
            raise SystemExit(1)
    except MesrError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
