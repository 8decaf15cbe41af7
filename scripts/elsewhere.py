"""Train a reproduction's networks on a machine that has no scans and is given little at a time.

    python scripts/elsewhere.py pack --data ../shared/data -o reproduction --to parts
    PYTHONPATH=src python scripts/elsewhere.py train parts --work /tmp/work --at-once 12      # there
    PYTHONPATH=src python scripts/elsewhere.py collect --work /tmp/work --to out              # there
    python scripts/elsewhere.py adopt out --data ../shared/data -o reproduction

`pack` writes the configuration of every training that the folder lacks, the prepared CT slices and the perceptual
term's network as one archive, in parts. `train` takes what parts it is shown and begins when it has them all: so
many trainings at once, dear ones first, each going on where it was stopped. `collect` hands over what has ended since the
last time, as parts again, so much at most. `adopt` makes trainings of the folder of them, as if they had run there,
and `mesr reproduce` measures them. There it needs torch, numpy, yaml and safetensors alone.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import yaml

if TYPE_CHECKING:
    from mesr.reproduce.running import Runner
    from mesr.reproduce.trainings import Training

SETS = ("set", "set-cbct")
VGG = "vgg.safetensors"
JOBS = "jobs.json"
GIVEN = "given.txt"
SLOW = 10
"""Times as dear as their multiply-adds say: steps with VGG or a critic, which work at the resolution of the result."""
MIB = 1 << 20


class Job(NamedTuple):
    """A training: `after` is the one whose weights it starts from, or nothing; `expense` orders them."""

    name: str
    after: str
    expense: float
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
    """The archive as files of at most so many bytes, whose names say how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    count = -(-len(archive) // size)
    found = []
    for n in range(count):
        found.append(folder / f"{n + 1}-of-{count}.part")
        found[-1].write_bytes(archive[n * size : (n + 1) * size])
    return found


def joined(folder: Path) -> bytes | None:
    """What `split` split; None while parts are missing."""
    parts = {int(path.name.split("-")[0]): path for path in folder.glob("*-of-*.part")}
    count = max((int(path.stem.split("-")[2]) for path in parts.values()), default=0)
    if not count or len(parts) < count:
        return None
    return b"".join(parts[n].read_bytes() for n in range(1, count + 1))


def runner(data: Path, out: Path, budget: str, vgg: str) -> Runner:
    """Of a reproduction's folder."""
    from mesr.reproduce.budgets import BUDGETS
    from mesr.reproduce.running import Runner
    from mesr.reproduce.sources import source
    from mesr.reproduce.trainings import Setting

    return Runner(Setting(BUDGETS[budget], source(data), vgg), out)


def trainings(of: Runner) -> dict[str, Training]:
    """Every training of the plan, by name, each after what it starts from."""
    from mesr.reproduce.plan import EXPERIMENTS, plan

    rows = [row for row in plan(EXPERIMENTS, of.setting) if not row.absent]
    return {step.name: step for row in rows for one in row.trainings for step in one.chain()}


def jobs(of: Runner, only: Sequence[str] = ()) -> list[Job]:
    """Those that are not done, of these names, and what they start from, with paths as `train` has them.

    Args:
        only: patterns of names; every one where empty.
    """
    from mesr.reproduce.running import effort

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
        slow = SLOW if {"perceptual", "adversarial"} & {*config.losses} else 1
        values = asdict(config)
        if "perceptual" in config.losses:
            values["perceptual"]["vgg"] = VGG
        found.append(Job(name, after, slow * effort(one), values))
    return found


def pack(of: Runner, todo: Sequence[Job], to: Path, size: int) -> None:
    """Write the parts."""
    from mesr.losses import vgg

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(JOBS, json.dumps([job._asdict() for job in todo]))
        plan = trainings(of)
        for folder in sorted({of.training_set(plan[job.name]) for job in todo}):
            _pack_set(archive, folder, folder.name)
        if any("perceptual" in job.config["losses"] for job in todo):
            archive.write(vgg.cached_vgg16(), VGG)
        needed = {job.after for job in todo} - {job.name for job in todo} - {""}
        for name in sorted(needed):  # Done here, and started from there.
            path = f"runs/{name}/{name}.safetensors"
            archive.write(of.out / path, path)
    parts = split(buffer.getvalue(), to, size)
    print(f"{len(todo)} trainings in {len(parts)} parts, {len(buffer.getvalue()) / MIB:.0f} MiB")


def _pack_set(archive: zipfile.ZipFile, folder: Path, name: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    archive.writestr(f"{name}/manifest.json", json.dumps(manifest))
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
            archive.writestr(f"{name}/{file}.xz", packed)


def _squeezed_file(path: Path) -> bytes:
    values = np.load(path, allow_pickle=False)
    if values.dtype != np.int16:
        raise SystemExit(f"{path.name} is no int16 image.")
    return squeezed(values)


def receive(parts: Path, work: Path) -> bool:
    """Keep the parts; whether everything is there, and unpacked."""
    store = work / "parts"
    store.mkdir(parents=True, exist_ok=True)
    for path in parts.glob("*.part"):
        (store / path.name).write_bytes(path.read_bytes())
    if (work / JOBS).is_file():
        return True
    archive = joined(store)
    if archive is None:
        return False
    with zipfile.ZipFile(io.BytesIO(archive)) as held, ProcessPoolExecutor() as pool:
        names = [name for name in held.namelist() if name not in (JOBS,)]
        for name in names:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            if not name.endswith(".xz"):
                (work / name).write_bytes(held.read(name))
        images = [name for name in names if name.endswith(".xz")]
        targets = [work / name.removesuffix(".xz") for name in images]
        list(pool.map(_restore, (held.read(name) for name in images), targets, chunksize=8))
        (work / JOBS).write_bytes(held.read(JOBS))
    return True


def _restore(packed: bytes, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, restored(packed))


def ended(work: Path, name: str) -> bool:
    """Whether a training's weights are there, whole."""
    return (work / f"runs/{name}/{name}.safetensors").is_file()


def train(work: Path, at_once: int) -> None:
    """Run what is not done until it is, dear ones first; a second call goes on."""
    todo = [Job(**one) for one in json.loads((work / JOBS).read_text(encoding="utf-8"))]
    chained = {job.name: job.expense for job in todo}
    for job in todo:  # What others start from goes with what they take.
        if job.after in chained:
            chained[job.after] += job.expense
    todo = sorted((job for job in todo if not ended(work, job.name)), key=lambda job: -chained[job.name])
    running: dict[str, subprocess.Popen[bytes]] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while todo or running:
            for name, process in [*running.items()]:
                if process.poll() is not None:
                    del running[name]
                    print(
                        f"{time.strftime('%X')} {name}: {'done' if ended(work, name) else 'FAILED'}",
                        flush=True,
                    )
            ready = [job for job in todo if not job.after or ended(work, job.after)]
            for job in ready[: max(0, at_once - len(running))]:
                todo.remove(job)
                running[job.name] = _start(work, job)
            if todo and not ready and not running:
                print(f"without what they start from: {', '.join(job.name for job in todo)}")
                return
            time.sleep(0.5)
    finally:  # They save a checkpoint when told to stop.
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def _start(work: Path, job: Job) -> subprocess.Popen[bytes]:
    config = work / "configs" / f"{job.name}.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(yaml.safe_dump(job.config), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path("src").resolve())}
    with (work / "configs" / f"{job.name}.log").open("ab") as log:
        command = [sys.executable, "-m", "mesr.train", str(config)]
        return subprocess.Popen(command, cwd=work, env=environment, stdout=log, stderr=subprocess.STDOUT)


def collect(work: Path, to: Path, size: int, most: int) -> None:
    """Hand over what has ended and was not handed over before, `most` bytes of it, in parts."""
    given = set((work / GIVEN).read_text().split()) if (work / GIVEN).is_file() else set()
    known = [one["name"] for one in json.loads((work / JOBS).read_text(encoding="utf-8"))]
    due = [name for name in known if ended(work, name) and name not in given]
    buffer, taken, total = io.BytesIO(), [], 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in due:
            files = [work / f"runs/{name}/{file}" for file in (f"{name}.safetensors", "log.csv")]
            total += sum(path.stat().st_size for path in files)
            if total > most and taken:
                break
            for path in files:
                archive.write(path, f"{name}/{path.name}")
            taken.append(name)
        archive.writestr("computed.txt", _computed())
    split(buffer.getvalue(), to, size)
    with (work / GIVEN).open("a") as file:
        file.writelines(f"{name}\n" for name in taken)
    print(f"handed over {len(taken)} of {len(due)} due; {len(given) + len(due)} of {len(known)} done")


def _computed() -> str:
    if not torch.cuda.is_available():
        return "float32, cpu"
    return f"float32{' (TF32)' * torch.backends.cudnn.allow_tf32}, {torch.cuda.get_device_name()}"


def adopt(of: Runner, folders: Iterable[Path]) -> None:
    """Make trainings of the reproduction of what `collect` handed over."""
    plan = trainings(of)
    for folder in folders:
        archive = joined(folder)
        if archive is None:
            raise SystemExit(f"{folder} lacks parts.")
        with zipfile.ZipFile(io.BytesIO(archive)) as held:
            computed = held.read("computed.txt").decode()
            names = {name.split("/")[0] for name in held.namelist() if "/" in name}
            for name in sorted(names, key=[*plan].index):
                files = {path: held.read(f"{name}/{path}") for path in (f"{name}.safetensors", "log.csv")}
                of.adopt(plan[name], files, computed)
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
        one.add_argument("--vgg", default="vgg16")
        one.add_argument("-o", "--output", type=Path, required=True)
    verbs.choices["pack"].add_argument("--to", type=Path, required=True)
    verbs.choices["pack"].add_argument("--only", nargs="*", default=[], help="patterns of trainings' names")
    verbs.choices["adopt"].add_argument("folders", type=Path, nargs="+")
    for verb in ("train", "collect"):
        verbs.add_parser(verb).add_argument("--work", type=Path, required=True)
    verbs.choices["train"].add_argument("parts", type=Path)
    verbs.choices["train"].add_argument("--at-once", type=int, default=12)
    verbs.choices["collect"].add_argument("--to", type=Path, required=True)
    verbs.choices["collect"].add_argument("--most", type=int, default=60, help="MiB in all")
    for verb, size in (("pack", 44), ("collect", 15)):
        verbs.choices[verb].add_argument("--part", type=int, default=size, help="MiB a file")
    asked = parser.parse_args(arguments)
    if asked.verb == "pack":
        of = runner(asked.data, asked.output, asked.budget, asked.vgg)
        pack(of, jobs(of, asked.only), asked.to, asked.part * MIB)
    elif asked.verb == "adopt":
        adopt(runner(asked.data, asked.output, asked.budget, asked.vgg), asked.folders)
    elif asked.verb == "collect":
        collect(asked.work, asked.to, asked.part * MIB, asked.most * MIB)
    elif receive(asked.parts, asked.work.resolve()):
        train(asked.work.resolve(), asked.at_once)
    else:
        print("not all parts are there yet")


if __name__ == "__main__":
    main()
