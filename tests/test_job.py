"""Studies to outcomes: fates, notes, timings, the report, and that one bad study stops no other."""

from __future__ import annotations

import gc
import json
import os
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from scans import dicom_series
from tiny import tiny_weights

from mesr import io, job, report
from mesr.errors import InternalError, MesrError, OutputError, UsageError, WeightsError
from mesr.grid import Target
from mesr.inference import Upscaler
from mesr.upscaling import upscale

TWICE = Target.of(scale=2)
SINC = job.Settings(model="sinc")


def test_a_study_becomes_a_series_and_an_account_of_it(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(3, 12, 10))
    model = tiny_weights(tmp_path / "w.safetensors")
    (outcome,) = _all(tmp_path, Target.of(scale="2.5"), job.Settings(model=str(model)))
    assert outcome.status == "done"
    assert outcome.output == tmp_path / "out" / f"CT-{outcome.id}"
    assert sorted(outcome.output.iterdir()) == sorted(outcome.outputs)
    assert outcome.after is not None
    assert outcome.after.size == (3, 30, 25)
    assert outcome.derivation is not None
    assert outcome.derivation.model == "tiny-1"
    assert outcome.residual is not None
    assert outcome.residual > 0
    assert outcome.unit == "HU"
    assert set(outcome.seconds) == {"start", "read", "compute", "write", "total"}
    assert min(outcome.seconds.values()) >= 0
    assert max(outcome.seconds.values()) == outcome.seconds["total"]
    assert sum(outcome.seconds.values()) > 1.5 * outcome.seconds["total"]


def test_the_residual_is_the_largest_of_all_slices(tmp_path: Path) -> None:
    array = np.zeros((3, 24, 24), np.float32)
    array[1] = np.random.default_rng(0).normal(0, 100, (24, 24))
    np.save(tmp_path / "in.npy", array)
    (outcome,) = _all(tmp_path, settings=job.Settings(model="nearest"), name="in.npy")
    sr = upscale(tmp_path / "in.npy", scale=2, model="nearest")
    assert outcome.residual == sr.slices[1].residual
    assert outcome.residual is not None
    assert outcome.residual > 1


def test_clipped_voxels_are_counted_and_noted(tmp_path: Path) -> None:
    image = np.zeros((1, 20, 20), np.int16)
    image[:, :, 10:] = 32_767
    np.save(tmp_path / "in.npy", image)
    settings = job.Settings(model="sinc", format="nifti")
    (outcome,) = _all(tmp_path, TWICE, settings, name="in.npy")
    assert outcome.status == "done"
    assert outcome.clipped > 0


def test_one_bad_study_does_not_stop_the_others(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in" / "a", series="1.2.3.1")
    bad = dicom_series(tmp_path / "in" / "b", series="1.2.3.2", heights=(0, 1, 2, 9, 10))
    dicom_series(tmp_path / "in" / "c", series="1.2.3.3")
    assert bad.paths
    (tmp_path / "in" / "d.dcm").write_bytes(b"not DICOM")
    outcomes = _all(tmp_path)
    assert sorted(outcome.status for outcome in outcomes) == ["done", "done", "refused", "refused"]
    assert job.exit_code(outcomes) == 4
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_slice_that_proves_unreadable_leaves_nothing(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(5, 16, 20))
    for path in scan.paths[2:]:
        path.write_bytes(path.read_bytes()[:-100])
    (outcome,) = _all(tmp_path)
    assert outcome.status == "refused"
    assert job.exit_code([outcome]) == 3
    assert _below(tmp_path / "out") == []


def test_a_bug_is_an_outcome_and_its_text_stays_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom_series(tmp_path / "in")

    def broken(*_: object, **__: object) -> None:
        raise ValueError("ZZPHI^MARKER")

    monkeypatch.setattr(job, "apply", broken)
    (outcome,) = _all(tmp_path)
    assert outcome.status == "failed"
    assert isinstance(outcome.error, InternalError)
    assert "ZZPHI" not in str(outcome.error)
    assert isinstance(outcome.error.__cause__, ValueError)
    assert job.exit_code([outcome]) == 1


@pytest.mark.parametrize("bug", [False, True])
def test_an_outcome_keeps_no_unpacked_file(tmp_path: Path, bug: bool) -> None:
    dicom_series(tmp_path / "in", size=(2, 12, 10))
    shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path / "in")
    below = tmp_path / "private"
    below.mkdir()

    def broken(k: int, count: int) -> None:
        raise ValueError("broken") if bug else UsageError("stopped", "Stopped.")

    gc.disable()
    try:
        found = io.discover([tmp_path / "study.zip"], below)
        outcome = job.run(found.items[0], TWICE, tmp_path / "out", SINC, on_slice=broken)
        assert outcome.error is not None
        assert outcome.error.code == ("internal" if bug else "stopped")
        del found
        assert list(below.iterdir()) == []
    finally:
        gc.enable()
    if bug:
        cause = outcome.error.__cause__
        assert cause is not None
        assert "in broken" in "".join(traceback.format_exception(cause))


def test_what_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in")
    (first,) = _all(tmp_path)
    (second,) = _all(tmp_path)
    assert second.error is not None
    assert second.error.code == "exists"
    before = [path.stat().st_mtime_ns for path in first.outputs]
    (third,) = _all(tmp_path, settings=job.Settings(model="sinc", force=True))
    assert third.status == "done"
    assert [path.stat().st_mtime_ns for path in third.outputs] != before


def test_an_interrupt_goes_through_and_leaves_nothing_partial(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(5, 16, 20))
    found = job.discover([tmp_path / "in"])

    def stop(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(job.run_all(found, TWICE, tmp_path / "out", SINC, on_slice=stop))
    assert _below(tmp_path / "out") == []


def test_progress_counts_every_slice(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(4, 16, 20))
    told: list[tuple[int, int]] = []
    found = job.discover([tmp_path / "in"])
    list(job.run_all(found, TWICE, tmp_path / "out", SINC, on_slice=lambda *two: told.append(two)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_output_folder_may_not_be_the_input_folder(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in")
    with pytest.raises(OutputError) as raised:
        job.discover([tmp_path / "in"], tmp_path / "in" / ".." / "in")
    assert raised.value.code == "is-input"


def test_earlier_results_inside_the_input_folder_are_left_alone(tmp_path: Path) -> None:
    dicom_series(tmp_path / "study")
    out = tmp_path / "out"
    list(job.run_all(job.discover([tmp_path], out), TWICE, out, SINC))
    found = job.discover([tmp_path], out)
    assert len(found.items) == 1
    assert "earlier-results" in {note.code for note in found.notes}
    assert len(job.discover([out], tmp_path / "elsewhere").items) == 1


def test_a_single_earlier_result_is_counted_in_the_singular(tmp_path: Path) -> None:
    dicom_series(tmp_path / "study")
    out = tmp_path / "out"
    list(job.run_all(job.discover([tmp_path], out), TWICE, out, SINC))
    (note,) = job.discover([tmp_path], out).notes
    assert note.text.startswith("1 earlier result ")


@pytest.mark.parametrize("sound", [True, False], ids=["sound", "damaged"])
def test_no_result_replaces_another_input_of_the_call(tmp_path: Path, sound: bool) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a.npy", np.full((1, 8, 8), ord(folder), np.float32))
    np.save(tmp_path / "y" / "b.npy", np.zeros((1, 8, 8), np.float32))
    if not sound:
        (tmp_path / "y" / "a.npy").write_bytes(b"nonsense")
    before = (tmp_path / "y" / "a.npy").read_bytes()
    named = [tmp_path / name for name in ("x/a.npy", "y/a.npy", "x/../y/b.npy")]
    found = job.discover(named, tmp_path / "y")
    settings = job.Settings(model="sinc", force=True)
    outcomes = list(job.run_all(found, TWICE, tmp_path / "y", settings))
    assert (tmp_path / "y" / "a.npy").read_bytes() == before
    codes = [outcome.error.code for outcome in outcomes if outcome.error is not None]
    assert codes.count("output-is-input") == 2
    assert len([outcome for outcome in outcomes if outcome.status == "done"]) == int(sound)


def test_no_preview_and_no_folder_of_a_series_replaces_an_input_either(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in")
    (earlier,) = _all(tmp_path)
    assert earlier.output is not None
    held = {path: path.read_bytes() for path in earlier.outputs}
    np.save(tmp_path / "a.npy", np.zeros((1, 8, 8), np.float32))
    picture = tmp_path / "out" / "a.preview.png"
    io.write(io.read(tmp_path / "a.npy"), picture)
    held[picture] = picture.read_bytes()
    found = job.discover([tmp_path / "in", tmp_path / "a.npy", earlier.output, picture], tmp_path / "out")
    settings = job.Settings(model="sinc", force=True, preview=True)
    outcomes = list(job.run_all(found, TWICE, tmp_path / "out", settings))
    refused = [outcome.error.code for outcome in outcomes if outcome.error is not None]
    assert refused == ["output-is-input"] * 3
    assert [outcome.id for outcome in outcomes if outcome.status == "done"] == [found.items[1].id]
    assert {path: path.read_bytes() for path in held} == held


def test_a_file_named_in_the_output_folder_is_an_input_and_no_earlier_result(tmp_path: Path) -> None:
    (tmp_path / "in" / "out").mkdir(parents=True)
    np.save(tmp_path / "in" / "a.npy", np.zeros((1, 8, 8), np.float32))
    np.save(tmp_path / "in" / "out" / "a.npy", np.ones((1, 8, 8), np.float32))
    out = tmp_path / "in" / "out"
    found = job.discover([tmp_path / "in", out / "a.npy"], out)
    outcomes = list(job.run_all(found, TWICE, out, job.Settings(model="sinc", force=True)))
    assert "output-is-input" in [outcome.error.code for outcome in outcomes if outcome.error is not None]
    np.testing.assert_array_equal(np.load(out / "a.npy"), 1)


def test_one_file_cannot_take_several_results(tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.zeros((1, 8, 8), np.float32))
    found = job.discover([tmp_path / "a.npy", tmp_path / "b.npy"])
    with pytest.raises(UsageError, match="folder"):
        list(job.run_all(found, TWICE, tmp_path / "out.npy", SINC))
    assert not (tmp_path / "out.npy").exists()


def test_a_call_that_makes_no_sense_is_refused_before_its_first_study_is_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 8, 8), np.float32))
    found = job.discover([tmp_path / "a.npy"])
    with pytest.raises(UsageError):
        job.run_all(found, TWICE, tmp_path / "out", job.Settings(model="sinc", format="tiff"))


def test_a_file_name_takes_the_one_result(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(5, 16, 20))
    found = job.discover([tmp_path / "in"])
    (outcome,) = job.run_all(found, TWICE, tmp_path / "deep" / "out.nii.gz", SINC)
    assert outcome.outputs == (tmp_path / "deep" / "out.nii.gz",)
    assert io.read(outcome.outputs[0]).geometry.size == (5, 32, 40)


def test_a_preview_lies_beside_the_result(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in")
    settings = job.Settings(model="sinc", preview=True)
    (outcome,) = _all(tmp_path, settings=settings)
    assert outcome.preview == tmp_path / "out" / f"CT-{outcome.id}.preview.png"
    assert outcome.preview.read_bytes()[:4] == b"\x89PNG"
    assert len(job.discover([tmp_path / "out"]).items) == 1


def test_a_preview_computes_no_slice_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom_series(tmp_path / "in", size=(3, 12, 10))
    computed = []
    compute = Upscaler.compute
    monkeypatch.setattr(
        Upscaler, "compute", lambda one, values: computed.append(len(values)) or compute(one, values)
    )
    settings = job.Settings(model="sinc", preview=True)
    (outcome,) = job.run_all(job.discover([tmp_path / "in"]), TWICE, tmp_path / "out", settings)
    assert outcome.preview is not None
    assert sum(computed) == 3


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([], 0),
        ([None], 0),
        ([None, "input"], 4),
        (["input", "output"], 3),
        (["usage"], 2),
        (["weights", "usage"], 2),
        (["usage", "input"], 3),
        ([None, "usage"], 4),
        ([None, "bug", "input"], 1),
    ],
)
def test_the_exit_code_follows_from_the_fates(statuses: list[str | None], code: int) -> None:
    errors: dict[str | None, MesrError | None] = {
        None: None,
        "input": MesrError("bad", "Bad."),
        "output": OutputError("exists", "There."),
        "usage": UsageError("target", "Nonsense."),
        "weights": WeightsError("no-weights", "None."),
        "bug": InternalError(ValueError()),
    }
    outcomes = [
        job.Outcome(
            "0",
            "CT",
            "dicom",
            "done" if one is None else "failed" if one == "bug" else "refused",
            error=errors[one],
        )
        for one in statuses
    ]
    assert job.exit_code(outcomes) == code


def test_the_report_says_what_was_done_and_nothing_of_whom(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in" / "ZZPHI^MARKER", size=(3, 12, 10))
    np.save(tmp_path / "in" / "ZZPHI-MARKER.npy", np.zeros((1, 8, 8), np.float32))
    (tmp_path / "in" / "ZZPHI.dcm").write_bytes(b"text")
    assert scan.paths
    outcomes = _all(tmp_path, Target.of(scale="5/3"))
    report.write(tmp_path / "report.json", outcomes)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "ZZPHI" not in text
    assert str(tmp_path) not in text
    found = json.loads(text)
    assert found["format"] == report.FORMAT
    assert set(found["versions"]) == {"mesr", "torch", "python"}
    assert found["exit_code"] == 4
    refused, dicom, npy = found["studies"]
    assert refused["error"]["code"] == "not-dicom"
    assert refused["seconds"] == {}
    assert dicom["output"] == f"CT-{dicom['id']}"
    assert dicom["requested"] == "scale 5/3"
    assert dicom["scale"] == pytest.approx([1, 20 / 12, 17 / 10])
    assert dicom["grid"][1] == {"step": "3/5", "start": "-1/5"}
    assert dicom["before"] == {"size": [3, 12, 10], "spacing_mm": [2.5, 0.8, 0.7]}
    assert dicom["after"]["size"] == [3, 20, 17]
    assert len(dicom["weights_id"]) == 64
    assert npy["output"] == "*.npy"
    assert npy["after"]["spacing_mm"] is None
    assert refused.keys() == dicom.keys() == npy.keys()


def test_a_report_is_not_written_over_another(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("kept")
    with pytest.raises(OutputError):
        report.write(tmp_path / "report.json", [])
    assert (tmp_path / "report.json").read_text() == "kept"
    report.write(tmp_path / "report.json", [], force=True)
    assert json.loads((tmp_path / "report.json").read_text())["studies"] == []


def test_the_report_of_a_run_that_was_ended_carries_how_it_ended(tmp_path: Path) -> None:
    report.write(tmp_path / "report.json", [], status=143)
    assert json.loads((tmp_path / "report.json").read_text())["exit_code"] == 143


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 7), (1, 9, 1)])
def test_volumes_of_hardly_a_pixel_are_done(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    np.save(tmp_path / "in.npy", np.full(shape, 7, np.float32))
    model = tiny_weights(tmp_path / "w.safetensors")
    settings = job.Settings(model=str(model), modality="ct")
    (outcome,) = _all(tmp_path, Target.of(scale=3), settings, name="in.npy")
    assert outcome.status == "done"
    result = np.load(outcome.outputs[0])
    assert result.shape == (shape[0], 3 * shape[1], 3 * shape[2])
    np.testing.assert_allclose(result, 7, atol=1e-3)


@pytest.mark.parametrize("value", [-1000.0, 0.0, 3000.0])
@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_a_constant_image_stays_constant(tmp_path: Path, value: float, modality: str) -> None:
    np.save(tmp_path / "in.npy", np.full((1, 12, 12), value, np.float32))
    model = tiny_weights(tmp_path / "w.safetensors")
    settings = job.Settings(model=str(model), modality=modality)
    (outcome,) = _all(tmp_path, Target.of(scale="1.7"), settings, name="in.npy")
    np.testing.assert_allclose(np.load(outcome.outputs[0]), value, atol=0.01)


def test_the_identity_gives_the_input_back(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in")
    model = tiny_weights(tmp_path / "w.safetensors")
    (outcome,) = _all(tmp_path, Target.of(scale=1), job.Settings(model=str(model)))
    assert outcome.output is not None
    np.testing.assert_array_equal(io.read(outcome.output).array, scan.values)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in")
    (tmp_path / "out").mkdir(mode=0o500)
    (outcome,) = _all(tmp_path)
    assert outcome.error is not None
    assert outcome.error.code == "unwritable"


def test_a_file_in_place_of_the_output_folder_is_refused(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in")
    (tmp_path / "out").write_text("a file")
    (outcome,) = _all(tmp_path)
    assert outcome.error is not None
    assert outcome.error.code == "unwritable"
    assert (tmp_path / "out").read_text() == "a file"


def test_private_attributes_are_kept_only_on_request(tmp_path: Path) -> None:
    def private(data: Dataset, _: int) -> None:
        data.private_block(0x0029, "ZZ", create=True).add_new(1, "LO", "private")

    dicom_series(tmp_path / "in", edit=private)
    sizes = {}
    for keep in (False, True):
        settings = job.Settings(model="sinc", keep_private=keep, force=True)
        (outcome,) = _all(tmp_path, settings=settings)
        sizes[keep] = sum(b"private" in path.read_bytes() for path in outcome.outputs)
    assert sizes == {False: 0, True: 5}


def _all(
    tmp_path: Path, target: Target = TWICE, settings: job.Settings = SINC, name: str = "in"
) -> list[job.Outcome]:
    found = job.discover([tmp_path / name], tmp_path / "out")
    outcomes: Iterator[job.Outcome] = job.run_all(found, target, tmp_path / "out", settings)
    return list(outcomes)


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def test_a_result_beside_its_source_keeps_its_series_number_when_made_again(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(2, 12, 10))
    numbers = []
    for _ in range(3):
        found = job.discover([tmp_path / "in"], tmp_path / "in" / "out")
        settings = job.Settings(model="nearest", force=True)
        (outcome,) = job.run_all(found, TWICE, tmp_path / "in" / "out", settings)
        numbers.append(int(dcmread(outcome.outputs[0]).SeriesNumber))
    assert numbers == [1003, 1003, 1003]


@pytest.mark.parametrize(("slices", "told"), [(5, 0), (6, 1)])
def test_a_long_study_is_said_to_take_so_long_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: int, told: int
) -> None:
    monkeypatch.setattr(job, "LONG_STUDY", 6 * 12 * 10)
    dicom_series(tmp_path / "in", size=(slices, 12, 10))
    events: list[object] = []
    fates = job.run_all(
        job.discover([tmp_path / "in"]), TWICE, tmp_path / "out", SINC,
        on_plan=events.append, on_slice=lambda done, count: events.append((done, count)),
    )  # fmt: skip
    assert [one.status for one in fates] == ["done"]
    plans = [event for event in events if isinstance(event, float)]
    assert len(plans) == told
    assert all(plan > 0 for plan in plans)
    assert events[told:] == [(k + 1, slices) for k in range(slices)]
