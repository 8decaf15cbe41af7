"""Discovery: which volumes a heap of DICOM files holds, and what cannot be used and why.

Headers only are read here. Files are grouped by study and series, and each series is sorted into volumes by
`stack.py`; a series of which one file cannot be used is refused, not made shorter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import InputError, MesrError, UnreadableInput
from ...volume import Modality, Volume
from .frames import ENHANCED, Contents, read_file
from .header import is_dicom
from .read import volume_of
from .series import DicomSeries, Instance
from .stack import Stack, single, stacks

CLAIMED_SUFFIXES = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True)
class FoundSeries:
    """One volume that could be opened, or the reason why not.

    Attributes:
        id: 12 hexadecimal digits, the same whenever the same series is found; no patient data.
        label: modality and size, `"CT 512×512×30"`.
        modality: CT or MR.
        size: (slices, rows, columns).
        error: why it cannot be opened as a volume; None where it can.
    """

    id: str
    label: str
    modality: Modality
    size: tuple[int, int, int]
    error: MesrError | None
    _stack: Stack = field(repr=False)
    _source: DicomSeries = field(repr=False)

    def open(self) -> Volume:
        """The volume, whose slices are read when asked for.

        Raises:
            MesrError: `error`.
        """
        if self.error is not None:
            raise self.error
        assert self._stack.geometry is not None
        return volume_of(
            self._stack.frames, self._stack.geometry, self.modality, self._source, self._stack.notes
        )


@dataclass
class Discovery:
    """What a heap of files holds.

    Attributes:
        series: volumes, in order of appearance, unsound ones included.
        refused: files whose header says too little to belong to a series.
        skipped: objects of other kinds (structure sets, reports, …), counted by kind.
        foreign: files that are not DICOM and do not claim to be.
    """

    series: list[FoundSeries] = field(default_factory=list)
    refused: list[MesrError] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    foreign: list[Path] = field(default_factory=list)


def discover(paths: Sequence[Path]) -> Discovery:
    """Find every volume in `paths` (files). Nothing is raised for a bad file; it is told in the result."""
    found = Discovery()
    groups: dict[tuple[str, str], list[Contents]] = {}
    numbers: dict[str, set[int]] = {}
    for path in paths:
        try:
            if not is_dicom(path):
                _not_dicom(path, found)
                continue
            contents = read_file(path)
        except InputError as error:
            found.refused.append(error)
            continue
        # An earlier result of ours counts for nothing, or the next run would number its own otherwise.
        if contents.series_number is not None and not contents.ours:
            numbers.setdefault(contents.study, set()).add(contents.series_number)
        if contents.skipped:
            found.skipped[contents.skipped] = found.skipped.get(contents.skipped, 0) + 1
        else:
            groups.setdefault((contents.study, contents.series), []).append(contents)
    for (study, _), group in groups.items():
        found.series += _series(group, frozenset(numbers.get(study, ())))
    return found


def open_slices(found: FoundSeries) -> list[Volume]:
    """Every slice of a series as a one-slice volume, lowest first; also of a series that is no volume.

    For work that takes slices one by one (training, assessment) and for series with uneven gaps. A file that
    could not be used at all is missing here; `found.error` tells of it.

    Raises:
        GeometryInput: a slice's own geometry is unsound.
    """
    volumes = []
    for k, frame in enumerate(found._stack.frames):
        one = single(frame)
        assert one.geometry is not None
        source = replace(found._source, instances=found._source.instances[k : k + 1])
        volumes.append(volume_of(one.frames, one.geometry, found.modality, source, one.notes))
    return volumes


def open_single(path: Path) -> Volume:
    """One file with one slice, also without position, orientation or spacing, which is then noted.

    Raises:
        MesrError: it is not DICOM, not an image that is read, or holds several slices.
    """
    found = discover([path])
    if len(found.series) == 1:
        return found.series[0].open()
    if found.refused:
        raise found.refused[0]
    raise UnreadableInput(
        "not-one-image", f"Expected a file with one CT or MR volume, found {len(found.series)}.", path=path
    )


def _series(group: list[Contents], numbers: frozenset[int]) -> list[FoundSeries]:
    """The volumes of one series."""
    broken = next((contents.error for contents in group if contents.error is not None), None)
    frames = [frame for contents in group for frame in contents.frames]
    first = group[0]
    assert first.modality is not None
    if broken is not None:
        broken = _incomplete(broken, group)
    sorted_stacks = stacks(frames) if frames else [Stack((), None, broken)]
    found = []
    for stack in sorted_stacks:
        sample = stack.frames[0].instance if stack.frames else None
        size = (len(stack.frames), sample.layout.rows, sample.layout.columns) if sample else (0, 0, 0)
        source = DicomSeries(
            instances=tuple(frame.instance for frame in stack.frames),
            study_instance_uid=first.study,
            series_instance_uid=first.series,
            frame_of_reference_uid=stack.frames[0].frame_of_reference_uid if stack.frames else "",
            series_number=first.series_number,
            sibling_series_numbers=numbers - {first.series_number},
            enhanced=sample is not None and sample.sop_class_uid in ENHANCED,
        )
        name = first.series if len(sorted_stacks) == 1 or sample is None else _part_name(first.series, sample)
        found.append(
            FoundSeries(
                id=hashlib.sha256(name.encode()).hexdigest()[:12],
                label=f"{first.modality} {size[1]}×{size[2]}×{size[0]}",
                modality=first.modality,
                size=size,
                error=broken or stack.error,
                _stack=stack,
                _source=source,
            )
        )
    return found


def _part_name(series: str, lowest: Instance) -> str:
    """A name for one of a series' volumes, by its lowest slice: in whatever order its files were met."""
    return f"{series}#{lowest.sop_instance_uid}#{lowest.frame}"


def _incomplete(error: InputError, group: list[Contents]) -> InputError:
    """The refusal of a whole series for the sake of some of its files."""
    if len(group) == 1:
        return error
    bad = sum(contents.error is not None for contents in group)
    sentence = f"{bad} of the {len(group)} files of the series cannot be used: {error.sentence}"
    return type(error)(error.code, sentence, error.fix, error.path)


def _not_dicom(path: Path, found: Discovery) -> None:
    """A file that is not DICOM is refused where its name claims that it is."""
    if path.suffix.lower() in CLAIMED_SUFFIXES:
        error = UnreadableInput("not-dicom", "The file is named like a DICOM file but is not one.", path=path)
        found.refused.append(error)
    else:
        found.foreign.append(path)
