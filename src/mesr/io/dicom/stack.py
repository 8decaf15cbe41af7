"""From the frames of one series to volumes: what belongs together, in which order, and whether it is whole.

A volume is made only of slices of one size and orientation whose positions lie evenly on a line (`dicom.md`
§2); whatever else a series holds is split off, dropped with a note or refused. Nothing is ever filled in.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import GeometryInput, InputError, UnsupportedInput
from ...files import counted
from ...geometry import Geometry, Vector
from ...volume import Note
from .frames import PHASES, Frame
from .pixels import encoded_frame

POSITION_TOLERANCE_MM = 0.01
STEP_TOLERANCE = 0.01
"""How far a slice may lie from its even place: the larger of a hundredth of a millimetre and of the step."""
_ORIENTATION_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 1e-4
_SHOWN = 5


@dataclass(frozen=True)
class Stack:
    """Frames that are one volume, or would be but for `error`.

    Attributes:
        frames: along the normal, lowest first.
        geometry: None where `error` says why.
    """

    frames: tuple[Frame, ...]
    geometry: Geometry | None
    error: InputError | None = None
    notes: tuple[Note, ...] = ()


def stacks(frames: Sequence[Frame]) -> list[Stack]:
    """Sort one series into volumes."""
    images = [frame for frame in frames if not frame.localizer]
    if not images:
        error = UnsupportedInput(
            "localizer", "The series holds localizers (scouts) only.", "Choose the series of slices."
        )
        return [Stack(tuple(frames), None, error)]
    notes = []
    if len(images) < len(frames):
        text = counted(
            len(frames) - len(images),
            "localizer in the series was left out.",
            "localizers in the series were left out.",
        )
        notes.append(Note("localizer-dropped", text))
    parts = _alike(images)
    if len(parts) > 1:
        text = (
            f"The series mixes {len(parts)} sizes, orientations or frames of reference, which were taken as volumes"
            " of their own."
        )
        notes.append(Note("split-by-size", text))
    return [_with_notes(stack, notes) for part in parts for stack in _volumes_or_refusal(part)]


def single(frame: Frame) -> Stack:
    """One slice as a volume of its own: the slice spacing is its thickness, and what is not known is noted."""
    layout, notes = frame.instance.layout, []
    size = (1, layout.rows, layout.columns)
    if frame.pixel_spacing is None:
        note = Note("no-spacing", "The image has no pixel spacing; sizes count pixels, not millimetres.")
        return Stack((frame,), Geometry.unknown(size), notes=(note,))
    dz = frame.thickness
    if dz is None:
        dz = 1.0
        notes.append(Note("no-thickness", "The slice has no thickness; 1 mm was assumed."))
    spacing = (dz, *frame.pixel_spacing)
    if not frame.placed or frame.orientation is None:
        notes.append(
            Note("no-position", "The image has no position or orientation; only its spacing is known.")
        )
        return Stack((frame,), Geometry(size, spacing), notes=tuple(notes))
    geometry = Geometry(
        size, spacing, frame.instance.position, _unit(frame.normal), *_in_plane(frame.orientation)
    )
    return Stack((frame,), geometry, notes=tuple(notes))


def _volumes_or_refusal(frames: list[Frame]) -> list[Stack]:
    """The volumes among `frames`, or all of them under the reason why there are none."""
    try:
        return _volumes(frames)
    except InputError as error:
        return [Stack(tuple(sorted(frames, key=lambda frame: frame.height)), None, error)]


def _volumes(frames: list[Frame]) -> list[Stack]:
    """The volumes among frames of one size and orientation."""
    if len(frames) == 1:
        return [single(frames[0])]
    if not all(f.placed and f.orientation and f.pixel_spacing for f in frames):
        raise GeometryInput(
            "no-geometry",
            f"{len(frames)} slices lack position, orientation or pixel spacing, so they make no volume.",
            "Give one slice at a time.",
        )
    everything = _slots(frames)
    prints = _prints(everything)
    slots, notes = _without_copies(everything, lambda frame: prints[id(frame)])
    if all(len(slot) == 1 for slot in slots):
        return [_with_notes(_checked([frame for slot in slots for frame in slot]), notes)]
    # Several volumes: slices of two of them may be alike, as blank ones are, and are no copies.
    slots, notes = _without_copies(everything, lambda one: (prints[id(one)], *sorted(one.phases.items())))
    frames = [frame for slot in slots for frame in slot]
    parts = _phases(frames, max(len(slot) for slot in slots))
    if parts is not None:
        return [_with_notes(stack, [*notes, _told_apart(parts)]) for stack in parts]
    raise GeometryInput(
        "same-position",
        f"{counted(len(frames) - len(slots), 'slice lies', 'slices lie')} where another one lies, and nothing tells volumes apart.",
        "Give the slices of one volume only.",
    )


def _alike(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames parted by class, frame of reference, size, orientation and pixel spacing, in order of appearance."""
    parts: list[list[Frame]] = []
    for frame in frames:
        for part in parts:
            if _matches(part[0], frame):
                part.append(frame)
                break
        else:
            parts.append([frame])
    return parts


def _matches(a: Frame, b: Frame) -> bool:
    one, two = a.instance, b.instance
    return (
        one.sop_class_uid == two.sop_class_uid
        # Positions in two frames of reference have nothing to do with each other (C.7.4.1).
        and a.frame_of_reference_uid == b.frame_of_reference_uid
        and (one.layout.rows, one.layout.columns) == (two.layout.rows, two.layout.columns)
        and _close(a.orientation, b.orientation, _ORIENTATION_TOLERANCE)
        and _close(a.pixel_spacing, b.pixel_spacing, _SPACING_TOLERANCE)
    )


def _close(a: Sequence[float] | None, b: Sequence[float] | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= tolerance


def _slots(frames: list[Frame]) -> list[list[Frame]]:
    """Frames sorted along the normal of the first, those at one height together."""
    normal = np.array(frames[0].normal)
    ordered = sorted(frames, key=lambda frame: float(normal @ frame.instance.position))
    slots = [[ordered[0]]]
    for frame in ordered[1:]:
        last = slots[-1][0].instance.position
        if float(normal @ np.subtract(frame.instance.position, last)) < POSITION_TOLERANCE_MM:
            slots[-1].append(frame)
        else:
            slots.append([frame])
    return slots


def _prints(slots: list[list[Frame]]) -> dict[int, Hashable]:
    """By a frame's `id` what copies of it share: place, rescale and pixels."""
    prints: dict[int, Hashable] = {}
    for slot in slots:
        for frame in slot:
            instance = frame.instance
            # Bytes are compared only where two frames share a place, which is rare.
            pixels = encoded_frame(instance.path, instance.layout, instance.frame) if len(slot) > 1 else b""
            digest = hashlib.sha256(pixels).digest()
            prints[id(frame)] = (instance.position, instance.slope, instance.intercept, digest)
    return prints


def _without_copies(
    slots: list[list[Frame]], shared: Callable[[Frame], Hashable]
) -> tuple[list[list[Frame]], list[Note]]:
    """Each slot without frames that share with another one what copies share."""
    kept = [list({shared(frame): frame for frame in reversed(slot)}.values())[::-1] for slot in slots]
    dropped = sum(map(len, slots)) - sum(map(len, kept))
    text = counted(
        dropped,
        "slice was an exact copy of another and was left out.",
        "slices were exact copies of another and were left out.",
    )
    return kept, [Note("duplicate-dropped", text)] if dropped else []


def _phases(frames: list[Frame], count: int) -> list[Stack] | None:
    """`count` sound volumes told apart by one attribute or two; None where none does it."""
    for keywords in (*((k,) for k in PHASES), *itertools.combinations(PHASES, 2)):
        if not all(keyword in frame.phases for frame in frames for keyword in keywords):
            continue
        parts = _parted(frames, keywords)
        if len(parts) != count or any(len(_slots(part)) != len(part) for part in parts):
            continue
        try:
            return [_checked(part) for part in parts]
        except GeometryInput:
            continue
    return None


def _told_apart(parts: Sequence[Stack]) -> Note:
    lengths = [len(part.frames) for part in parts]
    of = "" if len(set(lengths)) == 1 else f", of {', '.join(map(str, lengths))} slices"
    return Note(
        "split-by-phase",
        f"The series holds {len(parts)} volumes of the same place{of}, which were told apart.",
    )


def _parted(frames: list[Frame], keywords: tuple[str, ...]) -> list[list[Frame]]:
    parts: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        parts.setdefault(tuple(frame.phases[k] for k in keywords), []).append(frame)
    return list(parts.values())


def _checked(frames: list[Frame]) -> Stack:
    """Sorted frames, one a place, as a volume; GeometryInput where they do not lie evenly on a line."""
    if len(frames) == 1:
        return single(frames[0])
    geometry = _geometry(frames)
    return Stack(tuple(frames), geometry, notes=_gap(frames[0], geometry))


def _geometry(frames: list[Frame]) -> Geometry:
    """The geometry of slices that lie evenly on a line, which a tilted gantry leans from their normal."""
    first = frames[0]
    positions = np.array([frame.instance.position for frame in frames])
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    length = float(np.linalg.norm(step))
    even = positions[0] + np.arange(len(frames))[:, None] * step
    tolerance = max(POSITION_TOLERANCE_MM, STEP_TOLERANCE * length)
    if float(np.linalg.norm(positions - even, axis=1).max()) > tolerance:
        files = len({frame.instance.path for frame in frames})
        raise _uneven(positions @ np.array(first.normal), tolerance, files)
    assert first.orientation is not None
    assert first.pixel_spacing is not None
    size = (len(frames), first.instance.layout.rows, first.instance.layout.columns)
    direction = _unit((float(step[0]), float(step[1]), float(step[2])))
    return Geometry(
        size,
        (length, *first.pixel_spacing),
        first.instance.position,
        direction,
        *_in_plane(first.orientation),
    )


def _gap(frame: Frame, geometry: Geometry) -> tuple[Note, ...]:
    """A note where much lies between the slices; whether it was never measured or is missing cannot be told."""
    step = geometry.spacing[0]
    if frame.thickness is None or step <= 2 * frame.thickness:
        return ()
    text = f"The slices are {frame.thickness:g} mm thick and {step:g} mm apart."
    return (Note("slice-gap", text),)


def _uneven(
    heights: np.ndarray[tuple[int], np.dtype[np.float64]], tolerance: float, files: int
) -> GeometryInput:
    """What is wrong with positions that do not lie evenly: slices missing, or no order at all."""
    steps = np.diff(heights)
    smallest = float(steps.min())
    counts = np.rint(steps / smallest)
    mostly_even = np.count_nonzero(counts == 1) * 2 > len(steps)
    if (
        mostly_even
        and counts.max() > 1
        and bool((np.abs(steps - counts * smallest) <= tolerance * counts).all())
    ):
        missing = [
            float(low + n * smallest)
            for low, count in zip(heights, counts, strict=False)
            for n in range(1, int(count))
        ]
        shown = ", ".join(f"{height:.2f}" for height in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        return GeometryInput(
            "missing-slices",
            f"{counted(len(missing), 'slice is', 'slices are')} missing, at {shown}{more} mm along the slices' normal.",
            "Give the whole series.",
        )
    return GeometryInput(
        "uneven-slices",
        f"Expected evenly spaced slices, found steps from {smallest:.2f} to {steps.max():.2f} mm.",
        "Give each slice's file in a call of its own: mesr upscale SLICE.dcm -o RESULT.dcm …"
        if files > 1
        else "Make a file of each frame first.",
    )


def _in_plane(orientation: tuple[float, ...]) -> tuple[Vector, Vector]:
    """(row direction, column direction) as `Geometry` names them: down the image, then along a row."""
    xr, yr, zr, xc, yc, zc = orientation
    return (xc, yc, zc), (xr, yr, zr)


def _unit(vector: Vector) -> Vector:
    x, y, z = (float(v) for v in np.array(vector) / np.linalg.norm(vector))
    return (x, y, z)


def _with_notes(stack: Stack, notes: Sequence[Note]) -> Stack:
    return Stack(stack.frames, stack.geometry, stack.error, (*stack.notes, *notes))
