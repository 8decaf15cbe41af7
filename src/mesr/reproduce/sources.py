"""Where the scans come from: a folder the user names, or the few real ones inside the package `pydicom-data`."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import InputError, UnreadableInput, UsageError
from ..patients import EVERY_SLICE
from ..prepare import ScanSpec, SetSpec, specification
from ..testset import EvaluationSpec, MeasuredScan, subjects
from ..testset import specification as evaluation

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
"""Of the repository; not part of the installed package."""

SPECIFICATIONS = ("scans.yaml", "val.yaml", "test.yaml")
"""What is trained on, chosen by and measured on."""


@dataclass(frozen=True)
class Source:
    """The scans of a reproduction, and what stands for the paper's sites among them.

    Attributes:
        name: "scans", or "pydicom-data".
        training, root: for `mesr prepare`.
        val, test: to measure on; nothing of the one is in the other or in the training set.
        pelvis: sites of Table 1 and Figure 3; empty for all.
        one_site, sites, series: what Table 3 is trained on, in words and in the training set's terms.
        elsewhere: sites Table 3 is measured at.
        warning: what must be said loudly wherever results are shown; empty where there is nothing.
        phantom: folder of a CatPhan scan, where there is one.
        kernels: folders of one scan under a sharp and a soft kernel.
    """

    name: str
    training: SetSpec
    root: Path
    val: EvaluationSpec
    test: EvaluationSpec
    pelvis: tuple[str, ...] = ()
    one_site: str = ""
    sites: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    warning: str = ""
    phantom: Path | None = None
    kernels: tuple[Path, ...] = ()

    @property
    def modalities(self) -> list[str]:
        """Those of the scans to train on, CT first."""
        found = {scan.modality for scan in self.training.scans if scan.split == "train"}
        return sorted(found, key=lambda name: (name != "CT", name))

    @property
    def missing(self) -> list[str]:
        """What cannot be shown with these scans, a sentence each."""
        found = []
        if not self.elsewhere:
            found.append(f"No other site than {self.one_site} is there to measure on: Table 3 is left out.")
        if self.phantom is None:
            found.append(
                "No CatPhan scan is there (test/CatPhan504-CBCT): native resolution shows no phantom."
            )
        if not self.kernels:
            found.append(
                "No scan under two kernels is there (val/Lung_Dx-A0002-B70f, -B40f): native resolution shows none."
            )
        return found

    @property
    def identity(self) -> str:
        """Of these very scans: its name, and 12 digits of what is trained and measured on and of each file's path and size.

        Files of the same names and sizes count as the same; the folder may be moved.
        """
        specs = [[asdict(one) for one in spec.scans] for spec in (self.training, self.val, self.test)]
        files = sorted(
            (file.relative_to(self.root).as_posix(), file.stat().st_size if file.exists() else -1)
            for path in {str(one["path"]) for spec in specs for one in spec}
            for file in files_of(self.root / path)
        )
        digest = hashlib.sha256(json.dumps([specs, files], sort_keys=True).encode()).hexdigest()
        return f"{self.name} {digest[:12]}"


def source(data: Path | None) -> Source:
    """The scans of a folder, or those inside `pydicom-data` where none is named.

    Raises:
        UnreadableInput: code `not-found`, there is no such folder.
        UsageError: codes `no-specification`, the folder is described nowhere; `no-scans`, there are none at all.
    """
    return _of_folder(data) if data is not None else _of_pydicom()


def limited(spec: EvaluationSpec, count: int) -> EvaluationSpec:
    """The same with at most `count` neighbouring slices of each scan and site, from the middle; 0 for all."""
    if not count:
        return spec
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in subjects(spec):
        numbers[one.scan.label, one.site].append(one.number)
    scans = []
    for scan in spec.scans:
        sites = {}
        for (label, site), found in numbers.items():
            if label == scan.label:
                kept = sorted(set(found))
                first = max(0, (len(kept) - count) // 2)
                kept = kept[first : first + count]
                sites[site] = [kept[0], kept[-1]]
        scans.append(replace(scan, sites=sites))
    return replace(spec, scans=[scan for scan in scans if scan.sites])


def files_of(path: Path) -> list[Path]:
    """A file, or all of a folder's."""
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def at_sites(spec: EvaluationSpec, sites: Collection[str]) -> EvaluationSpec:
    """The same at these sites alone; at all where none are named. A scan without sites is one site, "all"."""
    if not sites:
        return spec
    scans = [
        replace(scan, sites={site: range_ for site, range_ in sites_of(scan).items() if site in sites})
        for scan in spec.scans
    ]
    return replace(spec, scans=[scan for scan in scans if scan.sites])


def sites_of(scan: MeasuredScan) -> dict[str, list[int]]:
    """Its sites and their slices; all of them under "all", as measurements call it, where none are named."""
    return scan.sites or {"all": EVERY_SLICE}


def _of_folder(folder: Path) -> Source:
    """Specifications beside the scans count before the repository's."""
    if not folder.is_dir():
        raise UnreadableInput("not-found", "There is no such folder.", path=folder)
    own = all((folder / name).is_file() for name in SPECIFICATIONS)
    place = folder if own else CONFIGS
    if not own and not _describes(place, folder):
        raise UsageError(
            "no-specification",
            "The scans need a folder with scans.yaml, val.yaml and test.yaml in it, which say what they are.",
            "Put them there: mesr prepare takes a file like the first, mesr evaluate files like the others.",
            folder,
        )
    folder = folder.resolve()
    training, _ = specification(place / "scans.yaml")
    val, test = (replace(evaluation(place / name), root=str(folder)) for name in ("val.yaml", "test.yaml"))
    _assert_apart(training, val, test)
    sites = {site for scan in test.scans for site in sites_of(scan)}
    learned = [scan for scan in training.scans if scan.split == "train" and scan.modality == "CT"]
    pelvis = [scan for scan in learned if "pelvis" in scan.sites]
    first = pelvis[:1] or learned[:1]
    one = "pelvis" if pelvis else next(iter(first[0].sites), "all") if first else "all"
    phantom = folder / "test" / "CatPhan504-CBCT"
    kernels = tuple(folder / "val" / f"Lung_Dx-A0002-{name}" for name in ("B70f", "B40f"))
    return Source(
        "scans", training, folder, val, test,
        pelvis=("pelvis",) if "pelvis" in sites else (),
        one_site=f"{one}, one patient",
        sites=(one,),
        series=tuple(scan.label for scan in first),
        elsewhere=tuple(s for s in ("lung", "liver") if s in sites) or tuple(sorted(sites - {one})),
        phantom=phantom if phantom.is_dir() else None,
        kernels=kernels if all(path.is_dir() for path in kernels) else (),
    )  # fmt: skip


def _assert_apart(training: SetSpec, val: EvaluationSpec, test: EvaluationSpec) -> None:
    """No patient of the test set among those of scans.yaml, and none to train on among those to choose by.

    Names of `val.yaml` and `test.yaml` are not compared: both may number the studies of one folder.

    Raises:
        InputError: code `split`.
    """
    trained, held = (
        {scan.patient for scan in training.scans if scan.split == split} for split in ("train", "val")
    )
    chosen, reported = ({name for one in spec.scans for name in one.people} for spec in (val, test))
    if trained & (held | chosen | reported) or held & reported:
        raise InputError(
            "split", "A patient is named in more than one of train, val and test.",
            "Keep each patient in one of them.",
        )  # fmt: skip


def _describes(place: Path, folder: Path) -> bool:
    """Whether the specifications in a place are there, and of this folder: the first names a scan that it holds."""
    if not all((place / name).is_file() for name in SPECIFICATIONS):
        return False
    return any((folder / scan.path).exists() for scan in specification(place / SPECIFICATIONS[0])[0].scans)


TRAINED = {"explicit_VR-UN.dcm": "abdomen", "bad_sequence.dcm": "neck"}
HELD = {"J2K_pixelrep_mismatch.dcm": "head"}
MEASURED = {"693_UNCR.dcm": "head", "CT_small.dcm": "spine"}
"""File to body region: five patients. `eCT_Supplemental.dcm` holds perfusion maps, not HU, and is left out."""

_LICENCE, _ORIGIN = "MIT", "pydicom and pydicom-data 1.0.0"


def _of_pydicom() -> Source:
    from pydicom.data import get_testdata_file

    names = (*TRAINED, *HELD, *MEASURED)
    found = {name: get_testdata_file(name, download=False) for name in names}
    places = {name: path for name, path in found.items() if isinstance(path, str)}
    if len(places) < len(names):
        raise UsageError(
            "no-scans",
            "There are no scans to train on: no folder is named, and the package pydicom-data is not installed.",
            "Name a folder with --data DIR, or: pip install pydicom-data==1.0.0",
        )
    training = SetSpec(
        [
            ScanSpec(places[name], split, f"pydicom-{name}", "CT", _LICENCE, _ORIGIN, {site: EVERY_SLICE})
            for split, scans in (("train", TRAINED), ("val", HELD))
            for name, site in scans.items()
        ]
    )
    only = next(iter(TRAINED))
    return Source(
        "pydicom-data", training, Path("/"), _measured(places, HELD), _measured(places, MEASURED),
        one_site=f"{TRAINED[only]}, one slice",
        sites=(TRAINED[only],),
        series=(only,),
        elsewhere=tuple(MEASURED.values()),
        warning=(
            f"Only the {len(places)} single slices inside pydicom and pydicom-data were at hand, {len(TRAINED)} of them to"
            " train on. Networks trained so are worth nothing, and no figure here says how good a method is."
            " Name scans with --data."
        ),
    )  # fmt: skip


def _measured(places: dict[str, str], scans: dict[str, str]) -> EvaluationSpec:
    found: Sequence[MeasuredScan] = [
        MeasuredScan(
            places[name],
            "CT",
            patient=f"pydicom-{name}",
            sites={site: EVERY_SLICE},
            name=name,
            licence=_LICENCE,
            source=_ORIGIN,
        )
        for name, site in scans.items()
    ]
    return EvaluationSpec(list(found), "/")
