"""Which slices are measured, under which names, and the log of looks at a test set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scans import dicom_series

from mesr import evaluate, prepare, testset
from mesr.data import digest
from mesr.errors import InputError, OutputError, UsageError
from mesr.inference import Options
from mesr.intensity import HU_WINDOW, Window
from mesr.models.weights import Card
from mesr.volume import Slice

CONFIGS = Path(__file__).parents[1] / "configs"


def specified(folder: Path, text: str) -> testset.EvaluationSpec:
    path = folder / "spec.yaml"
    path.write_text(text)
    return testset.specification(path)


def test_sites_and_patients_are_ranges_of_numbers() -> None:
    scan = testset.MeasuredScan(
        "x", "CT", sites={"pelvis": [0, 9], "liver": [10, 19]}, patients={"a": [0, 14], "b": [15, 30]}
    )
    assert [scan.place(n) for n in (3, 12, 16)] == [("pelvis", "a"), ("liver", "a"), ("liver", "b")]
    assert scan.place(25) is None
    assert testset.MeasuredScan("folder/x", "CT").place(7) == ("all", "x")


def test_every_look_at_a_test_set_is_logged(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", size=(1, 48, 48))
    text = "split: test\nlooks: log/looks.csv\nscans: [{path: scan, modality: CT, patient: p}]\n"
    spec = specified(tmp_path, text)
    for command in ("mesr evaluate one", "mesr evaluate two"):
        evaluate.run(
            ["nearest"], spec, tmp_path / "out", scales=["2"], options=Options(device="cpu"), command=command
        )
    lines = (tmp_path / "log" / "looks.csv").read_text().splitlines()
    assert lines[0] == "date,commit,command"
    assert [line.split(",")[2] for line in lines[1:]] == ["mesr evaluate one", "mesr evaluate two"]


def test_a_test_set_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="log"):
        specified(tmp_path, "split: test\nscans: [{path: scan, modality: CT}]\n")


def test_a_network_is_not_measured_on_what_it_was_trained_on() -> None:
    spec = testset.EvaluationSpec([testset.MeasuredScan("train/A", "CT", patient="p")])
    card = Card("seen-1", {}, "0", {"data": [{"id": "A"}]})
    with pytest.raises(UsageError, match="trained on"):
        testset.assert_unseen(spec, [card])
    testset.assert_unseen(spec, [Card("unseen-1", {}, "0", {"data": [{"id": "B"}]})])


def test_a_network_is_not_measured_on_pixels_it_was_trained_on(tmp_path: Path) -> None:
    """Scans given by path have no name to tell them by."""
    for name, seed in (("seen", 0), ("other", 1)):
        values = np.random.default_rng(seed).integers(-1000, 1000, (1, 60, 60)).astype(np.int16)
        np.save(tmp_path / f"{name}.npy", values)
    other = tmp_path / "other.npy"
    seen = digest(one.sha256 for one in prepare.prepared(tmp_path / "seen.npy", "CT"))
    card = Card("seen-1", {}, "0", {"data": [{"id": "scan-0000", "digest": seen}]})
    with pytest.raises(UsageError, match="trained on"):
        testset.assert_unseen(testset.of_paths([tmp_path / "seen.npy"], "CT"), [card])
    testset.assert_unseen(testset.of_paths([tmp_path / "other.npy"], "CT"), [card])
    named = testset.EvaluationSpec([testset.MeasuredScan(str(tmp_path / "seen.npy"), "CT", patient="p")])
    with pytest.raises(UsageError, match="trained on"):
        testset.assert_unseen(named, [card, Card("seen-1", {}, "1", {})])
    with pytest.raises(UsageError, match="trained on"):  # In a set of one's own scans "scan-0000" is a name.
        testset.assert_unseen(
            testset.EvaluationSpec([testset.MeasuredScan(str(other), "CT", name="scan-0000")]), [card]
        )


def test_a_ct_that_does_not_say_so_is_measured_in_hu(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 60, 60), np.int16))
    (one,) = testset.subjects(testset.of_paths([tmp_path / "a.npy"], "CT"))
    assert (one.volume.unit, one.window) == ("HU", HU_WINDOW)


def test_padding_and_impossible_values_count_as_air() -> None:
    values = np.array([[40.0, -3024.0], [500.0, -1500.0]], dtype=np.float32)
    padding = np.array([[False, False], [True, False]])
    ct = testset.counted_air(Slice(values, padding), "HU", HU_WINDOW)
    np.testing.assert_array_equal(ct, [[40, -1024], [-1024, -1024]])
    mr = testset.counted_air(Slice(values, padding), "", Window(10, 90))
    np.testing.assert_array_equal(mr, [[40, -3024], [10, -1500]])


def test_no_scan_of_the_committed_sets_is_in_two_splits() -> None:
    trained, _ = prepare.specification(CONFIGS / "scans.yaml")
    paths = {"test": set(), "val": set()}
    for split in paths:
        spec = testset.specification(CONFIGS / f"{split}.yaml")
        assert spec.split == split
        paths[split] = {scan.path for scan in spec.scans}
    learnt = {scan.path for scan in trained.scans if scan.split == "train"}
    judged = {scan.path for scan in trained.scans if scan.split == "val"}
    assert not paths["test"] & (learnt | judged | paths["val"])
    assert not paths["val"] & learnt
    assert paths["val"] == judged


def test_the_committed_sets_name_scans_that_are_there(shared_data: Path) -> None:
    for split in ("test", "val"):
        spec = testset.specification(CONFIGS / f"{split}.yaml")
        assert all((shared_data / scan.path).exists() for scan in spec.scans)


@pytest.mark.parametrize("found", [[0], [], [0, 1, 2], [5, 0]])
@pytest.mark.parametrize("what", ["sites", "patients"])
def test_a_range_is_two_numbers_in_order(what: str, found: list[int]) -> None:
    with pytest.raises(UsageError, match=f"{what}.pelvis must be a first and a last slice") as refused:
        testset.MeasuredScan("x", "CT", **{what: {"pelvis": found}})  # type: ignore[arg-type]
    assert refused.value.code == "config"


def test_a_log_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as refused:
        testset.log_look(tmp_path, "mesr evaluate")
    assert refused.value.code == "unwritable"


def test_a_slice_is_in_one_range() -> None:
    with pytest.raises(UsageError, match=r"sites\.chest and sites\.pelvis share slice 2"):
        testset.MeasuredScan("x", "CT", sites={"pelvis": [2, 99], "chest": [0, 2]})


def test_a_patient_without_a_slice_is_refused(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", size=(1, 48, 48))
    spec = specified(tmp_path, "scans: [{path: scan, modality: CT, patients: {a: [0, 9], b: [500, 600]}}]\n")
    with pytest.raises(InputError, match=r"no slice in patients\.b"):
        list(testset.subjects(spec))
