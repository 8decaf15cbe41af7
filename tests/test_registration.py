"""Registration: known movements come back, a run repeats, and what cannot be is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import phantoms
import pytest
import volumes

pytest.importorskip("SimpleITK", reason="needs SimpleITK")

from mesr import io, itk
from mesr.alignment import Agreement, Alignment, Placed, Rigid, agreement
from mesr.deformation import largest_displacement, refine
from mesr.errors import GeometryInput, InputError
from mesr.geometry import Geometry
from mesr.paired import placed
from mesr.registration import assess, register

CBCT = phantoms.geometry((20, 62, 70), 4.5)
MOVEMENTS = [
    Rigid((0.0, 0.0, 0.0), (12.3, -7.7, 9.1), (0.0, 0.0, 0.0)),
    Rigid((2.0, -3.0, 5.0), (-21.0, 14.0, -6.5), (5.0, -4.0, 3.0)),
    Rigid((-6.0, 4.0, -8.0), (3.0, 25.0, 10.0), (0.0, 0.0, 0.0)),
]


def inside(cbct: Placed) -> np.ndarray:
    """LPS mm of points all over the body, (N, 3)."""
    return np.argwhere(cbct.body)[::97] @ cbct.geometry.affine[:3, :3].T + cbct.geometry.affine[:3, 3]


def off_by(found: Rigid, known: Rigid, cbct: Placed) -> tuple[float, float]:
    """The mean distance, mm, between where the two take the body, and the angle between them in degrees."""
    points = inside(cbct)
    places = [points @ one.matrix[:3, :3].T + one.matrix[:3, 3] for one in (found, known)]
    turned = found.matrix[:3, :3] @ known.matrix[:3, :3].T
    angle = np.degrees(np.arccos(min(1.0, (np.trace(turned) - 1) / 2)))
    return float(np.linalg.norm(places[0] - places[1], axis=1).mean()), float(angle)


def seen(moved: Rigid, onto: Geometry = CBCT, seed: int = 0) -> Placed:
    """A phantom's CBCT."""
    return phantoms.placed(phantoms.cone_beam(*phantoms.body(seed), moved, onto, seed), onto, cone_beam=True)


@pytest.fixture(name="ct", scope="module")
def _ct() -> Placed:
    return phantoms.placed(*phantoms.body(0))


@pytest.fixture(name="turned", scope="module")
def _turned() -> Placed:
    """The CBCT moved by the second of the movements."""
    return seen(MOVEMENTS[1])


@pytest.fixture(name="found", scope="module")
def _found(turned: Placed, ct: Placed) -> Alignment:
    return register(turned, ct)


def test_a_known_movement_is_found_to_half_a_millimetre_and_half_a_degree(
    found: Alignment, turned: Placed
) -> None:
    found.check()
    distance, angle = off_by(found.rigid, MOVEMENTS[1], turned)
    assert distance < 0.5
    assert angle < 0.5
    assert found.after.information > found.before.information
    assert found.after.detail > found.before.detail


@pytest.mark.slow
@pytest.mark.parametrize("known", [MOVEMENTS[0], MOVEMENTS[2]])
def test_other_movements_are_found_as_well(known: Rigid, ct: Placed) -> None:
    cbct = seen(known)
    found = register(cbct, ct)
    found.check()
    distance, angle = off_by(found.rigid, known, cbct)
    assert distance < 0.5
    assert angle < 0.5


def cut(moved: Rigid, radius_mm: float) -> Placed:
    """A phantom's CBCT as its file gives it, with the body cut by the cylinder and one value outside."""
    values = phantoms.cone_beam(*phantoms.body(0), moved, CBCT)
    view = phantoms.cylinder(CBCT, radius_mm)
    assert (values[~view] > -500).sum() > 1000
    scan = placed(volumes.volume(CBCT, np.where(view, values, np.float32(-1000))), cone_beam=True)
    assert np.array_equal(scan.shown, view)
    return scan


@pytest.mark.parametrize("radius_mm", [125.0, pytest.param(110.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "known", [MOVEMENTS[1], *(pytest.param(one, marks=pytest.mark.slow) for one in MOVEMENTS[::2])]
)
def test_a_movement_is_found_where_the_field_of_view_cuts_the_patient(
    known: Rigid, radius_mm: float, ct: Placed
) -> None:
    cbct = cut(known, radius_mm)
    found = register(cbct, ct)
    found.check()
    distance, angle = off_by(found.rigid, known, cbct)
    assert distance < 0.5
    assert angle < 0.5


def test_scans_whose_files_place_them_far_apart_are_brought_together(turned: Placed, ct: Placed) -> None:
    place = turned.geometry
    elsewhere = turned._replace(geometry=replace(place, origin=tuple(x + 400.0 for x in place.origin)))
    angles, shift, centre = MOVEMENTS[1]
    known = Rigid(angles, tuple(t - 400.0 for t in shift), tuple(c + 400.0 for c in centre))
    found = register(elsewhere, ct)
    distance, angle = off_by(found.rigid, known, elsewhere)
    assert distance < 0.5
    assert angle < 0.5
    assert np.isnan(found.before.information)


def test_the_same_seed_gives_the_same_answer_to_the_last_bit(
    found: Alignment, turned: Placed, ct: Placed
) -> None:
    assert register(turned, ct) == found


def test_two_patients_are_not_laid_over_each_other(ct: Placed) -> None:
    found = register(seen(MOVEMENTS[0], seed=1), ct)
    with pytest.raises(InputError, match="could not be laid over") as caught:
        found.check()
    assert caught.value.code == "not-registered"


def test_a_ct_too_short_for_the_cbct_is_refused() -> None:
    short = phantoms.placed(*phantoms.body(0, phantoms.geometry((3, 72, 80))))
    with pytest.raises(GeometryInput, match="Half of the body") as caught:
        register(seen(MOVEMENTS[0]), short)
    assert caught.value.code == "no-overlap"


def test_a_file_without_a_spacing_cannot_be_registered(ct: Placed) -> None:
    nowhere = ct._replace(geometry=replace(ct.geometry, known=False))
    for function in (register, assess):
        with pytest.raises(GeometryInput, match="spacing in mm"):
            function(nowhere, ct)


def test_what_is_not_known_is_not_believed() -> None:
    for agreed in (Agreement(1.0, 0.7, 0.9), Agreement(1.0, 0.9, 0.2), Agreement(1.0, 0.9, float("nan"))):
        with pytest.raises(InputError):
            Alignment(MOVEMENTS[0], agreed, agreed).check()
    good = Agreement(1.0, 0.9, 0.8)
    Alignment(MOVEMENTS[0], good, good).check()


def test_only_bodies_that_do_not_overlap_are_beyond_a_deformation() -> None:
    apart, moved = Agreement(1.0, 0.7, 0.9), Agreement(1.0, 0.9, 0.2)
    Alignment(MOVEMENTS[0], moved, moved).check_overlap()
    with pytest.raises(InputError, match=r"bodies overlap by 0\.70"):
        Alignment(MOVEMENTS[0], apart, apart).check_overlap()


def _onto(size: tuple[int, int, int], spacing: tuple[float, float, float], inside: Geometry) -> Geometry:
    """A grid in the middle of another."""
    made = Geometry(size, spacing)
    off = inside.position(*((n - 1) / 2 for n in inside.size)) - made.position(*((n - 1) / 2 for n in size))
    return replace(made, origin=tuple(off))


@pytest.mark.parametrize(
    "factors", [(2, 1, 1), (3, 1, 1), (1, 2, 2), (2, 2, 2), (3, 2, 2), (3, 3, 3), (5, 2, 2), (4, 4, 4)]
)
def test_noise_falls_on_a_coarser_grid_as_it_does_in_means_of_blocks(factors: tuple[int, int, int]) -> None:
    fine = Geometry((60, 60, 60), (1.0, 0.8, 0.8))
    size = [n // f for n, f in zip(fine.size, factors, strict=True)]
    spacing = [d * f for d, f in zip(fine.spacing, factors, strict=True)]
    coarse = _onto((size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2]), fine)
    noise = np.random.default_rng(0).normal(0, 100, fine.size).astype(np.float32)
    smooth = itk.antialiased(noise, np.ones(fine.size, np.bool_), fine, coarse)
    sampled = itk.onto(coarse, itk.image(smooth, fine), itk.simpleitk().Transform(), 0.0)
    (i, j, k), (a, b, c) = size, factors
    means = noise[: i * a, : j * b, : k * c].reshape(i, a, j, b, k, c).mean(axis=(1, 3, 5))
    assert sampled.std() == pytest.approx(means.std(), rel=0.2)


def test_nothing_is_smoothed_where_nothing_is_coarser() -> None:
    fine = Geometry((9, 20, 20), (2.0, 1.0, 1.0))
    values = np.random.default_rng(0).normal(0, 100, fine.size).astype(np.float32)
    everywhere = np.ones(fine.size, np.bool_)
    for onto in (fine, replace(fine, spacing=(1.0, 0.7, 1.0)), replace(fine, row_direction=(0.0, -1.0, 0.0))):
        assert itk.antialiased(values, everywhere, fine, onto) is values


def test_the_axis_that_is_smoothed_is_found_however_the_grid_lies() -> None:
    fine = Geometry((15, 15, 15), (1.0, 1.0, 1.0))
    sagittal = Geometry(
        (5, 15, 15), (3.0, 1.0, 1.0), slice_direction=(1.0, 0.0, 0.0), column_direction=(0.0, 0.0, -1.0)
    )
    values = np.zeros(fine.size, np.float32)
    values[7, 7, 7] = 1
    smooth = itk.antialiased(values, np.ones(fine.size, np.bool_), fine, sagittal)
    assert np.argwhere(smooth.sum(axis=2) > 1e-6).tolist() == [[7, 7]]
    assert smooth.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(smooth[7, 7], smooth[7, 7, ::-1], atol=1e-7)
    spread = (smooth[7, 7] * np.square(np.arange(15) - 7)).sum()
    assert spread == pytest.approx((3**2 - 1) / 9, rel=0.05)


@pytest.mark.parametrize("factors", [(1, 1, 1), (3, 1, 1), (1, 2, 2), (3, 2, 2)])
def test_no_rim_of_padding_gets_into_what_was_measured(factors: tuple[int, int, int]) -> None:
    fine = Geometry((24, 60, 60), (1.0, 1.0, 1.0))
    _, i, j = np.indices(fine.size)
    measured = np.hypot(i - 29.5, j - 29.5) < 25
    values = np.where(measured, 40, -1024).astype(np.float32)
    size = tuple(n // f for n, f in zip(fine.size, factors, strict=True))
    coarse = _onto((size[0], size[1], size[2]), (factors[0], factors[1], factors[2]), fine)
    nowhere = itk.simpleitk().Transform()
    shown = itk.mask_onto(coarse, itk.image(measured, fine), nowhere)
    smooth = itk.antialiased(values, measured, fine, coarse)
    assert (smooth[:, 0, 0] == -1024).all()
    moved = itk.onto(coarse, itk.image(smooth, fine), nowhere, -1024.0)
    np.testing.assert_allclose(moved[shown], 40, atol=5)


def test_a_movement_is_read_back_as_it_was_given() -> None:
    for one in MOVEMENTS:
        np.testing.assert_allclose(np.concatenate(Rigid.of(one.transform)), np.concatenate(one), atol=1e-9)
        x = np.array([10.0, -20.0, 30.0])
        np.testing.assert_allclose(
            one.matrix[:3, :3] @ x + one.matrix[:3, 3], one.transform.TransformPoint(x)
        )


def test_a_deformation_that_folds_space_is_refused() -> None:
    where = np.ones(CBCT.size, np.bool_)
    assert largest_displacement(phantoms.bent(CBCT, 9.0), CBCT, where) == pytest.approx(9.0, abs=0.3)
    with pytest.raises(InputError, match="folds space") as caught:
        largest_displacement(phantoms.bent(CBCT, 150.0), CBCT, where)
    assert caught.value.code == "folded"


def missed_by(back: itk.Transform, known: itk.Transform, cbct: Placed) -> tuple[float, float]:
    """How far from their places points of the body come back, when `known` takes them to the CT and `back` returns them.

    The mean and the 95th percentile, mm.
    """
    points = inside(cbct)
    ends = [back.TransformPoint(known.TransformPoint(point)) for point in points.tolist()]
    distances = np.linalg.norm(np.array(ends) - points, axis=1)
    return float(distances.mean()), float(np.percentile(distances, 95))


@pytest.mark.slow
def test_a_deformation_is_followed_where_a_rigid_movement_is_not_enough(ct: Placed) -> None:
    known = phantoms.bent(CBCT, 9.0)
    values = itk.onto(CBCT, itk.image(ct.values, ct.geometry), known, -1000.0)
    cbct = phantoms.placed(
        values + np.random.default_rng(0).normal(0, 40, values.shape).astype(np.float32), CBCT
    )
    start = assess(cbct, ct)
    back, followed = refine(cbct, ct, start)
    assert 4.0 < followed.deformation_mm < 15.0
    assert followed.after.detail > start.after.detail + 0.1
    assert followed.after.dice > start.after.dice
    assert followed.before == start.before
    assert agreement(cbct, ct, back) == followed.after
    mean, most = missed_by(back, known, cbct)
    unmoved = missed_by(itk.simpleitk().Transform(), known, cbct)
    assert mean < min(2.0, unmoved[0] / 2)
    assert most < min(4.0, unmoved[1] / 2)


PELVIS, PELVIS_FILES = "train/CCTH-A01", (45, 118)
"""A scan of a whole trunk, and the numbers of its files that show the pelvis."""


def around(ct: Placed, known: Rigid) -> tuple[Geometry, Rigid]:
    """The grid of a CBCT of the middle of a real CT, and the movement about that middle."""
    place = ct.geometry
    centre = place.position(*((n - 1) / 2 for n in place.size))
    height = min(16, int(0.7 * place.size[0] * place.spacing[0] / 3))
    onto = replace(phantoms.geometry((height, 150, 190), 2.0), spacing=(3.0, 2.0, 2.0))
    middle = onto.position(*((n - 1) / 2 for n in onto.size))
    there = centre - np.array(known.shift)
    onto = replace(onto, origin=tuple(np.array(onto.origin) + there - middle))
    return onto, known._replace(centre=tuple(there))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scan", "known"),
    [
        ("train/LungFCP-01-0001", Rigid((3.0, -2.0, 4.0), (14.0, -9.0, 6.0), (0.0, 0.0, 0.0))),
        ("train/CMB-CRC-MSB-01068", Rigid((-2.0, 1.5, -5.0), (-18.0, 11.0, -12.0), (0.0, 0.0, 0.0))),
        ("val/KiTS-00072", Rigid((1.0, 1.0, 6.0), (-10.0, 8.0, 4.0), (0.0, 0.0, 0.0))),
        (PELVIS, Rigid((2.0, -1.0, 3.0), (9.0, -12.0, 5.0), (0.0, 0.0, 0.0))),
    ],
)
def test_a_real_ct_and_its_simulated_cbct_are_laid_over_each_other(
    scan: str, known: Rigid, shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / scan
    if scan == PELVIS:
        for path in sorted(folder.iterdir()):
            if PELVIS_FILES[0] <= int(path.stem) <= PELVIS_FILES[1]:
                (tmp_path / path.name).symlink_to(path.resolve())
        folder = tmp_path
    ct = placed(io.read(folder))
    onto, known = around(ct, known)
    values = phantoms.cone_beam(ct.values, ct.geometry, known, onto)
    cbct = phantoms.placed(values, onto, cone_beam=True)
    found = register(cbct, ct)
    found.check()
    distance, angle = off_by(found.rigid, known, cbct)
    assert distance < 0.5
    assert angle < 0.5


@pytest.mark.slow
def test_a_deformation_of_a_real_ct_is_followed(shared_data: Path) -> None:
    ct = placed(io.read(shared_data / "train/LungFCP-01-0001"))
    onto, moved = around(ct, Rigid((3.0, -2.0, 4.0), (14.0, -9.0, 6.0), (0.0, 0.0, 0.0)))
    known = itk.simpleitk().CompositeTransform([moved.transform, phantoms.bent(onto, 9.0)])
    there = itk.onto(onto, itk.image(ct.values, ct.geometry), known, -1000.0)
    still = Rigid.shifted(np.zeros(3), np.zeros(3))
    cbct = phantoms.placed(phantoms.cone_beam(there, onto, still, onto), onto, cone_beam=True)
    start = register(cbct, ct)
    back, followed = refine(cbct, ct, start)
    followed.check()
    mean, most = missed_by(back, known, cbct)
    unbent = missed_by(start.rigid.transform.GetInverse(), known, cbct)
    assert mean < min(1.5, unbent[0] / 2)
    assert most < min(3.5, unbent[1] / 2)
