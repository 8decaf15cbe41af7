"""Where scans come from: a folder that is described, or the package that carries some."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import require
from small_source import BRIEF, small_source

from mesr.data import load_slices, read_manifest
from mesr.errors import InputError, UsageError
from mesr.models.weights import Card
from mesr.prepare import assert_split, prepare
from mesr.provenance import about
from mesr.recipe import TrainConfig
from mesr.reproduce import sources
from mesr.reproduce.plan import ct_sites, missing_of, patients_sites, plan
from mesr.reproduce.simulated import simulate_set
from mesr.reproduce.sources import at_sites, limited, source
from mesr.reproduce.trainings import Setting
from mesr.testset import assert_unseen, of_paths, subjects


def test_a_folder_that_nothing_describes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CONFIGS", tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"scans\.yaml"):
        source(tmp_path)


def test_a_folder_of_other_scans_than_the_checkout_describes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(UsageError, match=r"scans\.yaml") as refused:
        source(tmp_path)
    assert refused.value.code == "no-specification"


def test_scans_without_sites_are_one_site(tmp_path: Path) -> None:
    small = small_source(tmp_path)
    bare = [
        replace(spec, scans=[replace(one, sites={}) for one in spec.scans])
        for spec in (small.val, small.test)
    ]
    setting = Setting(
        BRIEF, replace(small, val=bare[0], test=bare[1], pelvis=(), elsewhere=("all",)), "vgg19"
    )
    assert patients_sites(setting) == ct_sites(setting) == ("all",)
    assert len(at_sites(bare[0], ("all",)).scans) == 1
    assert {row.sites for row in plan(["robustness", "table3"], setting)} == {("all",)}


def test_table_3_asks_for_no_site_that_is_not_measured(tmp_path: Path) -> None:
    setting = Setting(BRIEF, replace(small_source(tmp_path), elsewhere=("pelvis", "liver")), "vgg19")
    assert {row.sites for row in plan(["table3"], setting)} == {("pelvis",)}
    nowhere = setting._replace(source=replace(setting.source, elsewhere=("liver",)))
    assert plan(["table3"], nowhere) == []


def test_without_scans_and_without_the_package_both_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydicom.data.get_testdata_file", lambda *_, **__: None)
    with pytest.raises(UsageError, match="--data") as caught:
        source(None)
    assert "pydicom-data" in str(caught.value)


def test_the_packages_scans_are_split_by_patient_and_said_to_be_few() -> None:
    require("pydicom-data", importlib.util.find_spec("data_store") is not None)
    found = source(None)
    assert_split(found.training)
    held = {one.path for one in found.training.scans if one.split == "val"}
    assert {one.path for one in found.val.scans} == held
    assert not {one.path for one in found.test.scans} & {one.path for one in found.training.scans}
    assert "worth nothing" in found.warning


def test_the_projects_scans_are_those_of_its_configurations(shared_data: Path) -> None:
    found = source(shared_data)
    assert found.pelvis == ("pelvis",)
    assert (found.sites, found.series) == (("pelvis",), ("CCTH-A01",))
    assert found.elsewhere == ("lung", "liver")
    assert found.phantom is not None


def test_a_limit_keeps_the_middle_slices(tmp_path: Path) -> None:
    spec = small_source(tmp_path).test
    assert [one.number for one in subjects(spec)] == sorted(one.number for one in subjects(spec))
    assert len(list(subjects(limited(spec, 1)))) == 1
    assert limited(spec, 0) is spec


def test_sites_leave_out_the_slices_of_others(tmp_path: Path) -> None:
    spec = small_source(tmp_path).test
    (scan,) = spec.scans
    both = replace(spec, scans=[replace(scan, sites={"pelvis": [1, 1], "liver": [2, 9]}), scan])
    assert at_sites(both, ()) is both
    assert [one.sites for one in at_sites(both, ["liver"]).scans] == [{"liver": [2, 9]}]
    assert [one.sites for one in at_sites(both, ["pelvis"]).scans] == [{"pelvis": [1, 1]}, scan.sites]
    assert at_sites(both, ["head"]).scans == []


def test_simulated_scans_lie_beside_the_slices_they_were_made_from(tmp_path: Path) -> None:
    small = small_source(tmp_path / "scans")
    prepare(small.training, small.root, tmp_path / "set")
    simulate_set(tmp_path / "set", tmp_path / "pairs", "cbct:views=12:element_mm=2", count=1)
    for split in ("train", "val"):
        (one,) = load_slices(tmp_path / "pairs", split, ["CT"])
        assert one.paired is not None
        assert one.paired.shape == one.values.shape
        assert (one.paired != one.values).mean() > 0.5
    told = about(TrainConfig(), read_manifest(tmp_path / "pairs"), 1, 1.0, None)
    assert told["training"]["degradation"] == "bicubic of cbct:views=12:element_mm=2"


@pytest.mark.parametrize("count", [0, 1])
def test_a_network_trained_on_simulated_scans_is_not_measured_on_their_ct(tmp_path: Path, count: int) -> None:
    """By its pixels, whatever it is called, though the set holds a part of it."""
    small = small_source(tmp_path / "scans")
    prepare(small.training, small.root, tmp_path / "set")
    simulate_set(tmp_path / "set", tmp_path / "pairs", "cbct:views=12:element_mm=4", count=count)
    card = Card("tiny", {}, "0", about(TrainConfig(), read_manifest(tmp_path / "pairs"), 1, 1.0))
    (tmp_path / "scans" / "train").rename(tmp_path / "renamed")
    with pytest.raises(UsageError, match="trained on a scan"):
        assert_unseen(of_paths([tmp_path / "renamed"], "CT"), [card])
    assert_unseen(of_paths([tmp_path / "scans" / "test"], "CT"), [card])


def test_only_the_slices_a_training_asks_for_are_scanned(tmp_path: Path) -> None:
    small = small_source(tmp_path / "scans")
    prepare(small.training, small.root, tmp_path / "set")

    def scanned(**asked: list[str]) -> list[tuple[str, str]]:
        out = tmp_path / "pairs"
        simulate_set(tmp_path / "set", out, "cbct:views=12:element_mm=4", count=1, **asked)
        return [(one["id"], one["split"]) for one in read_manifest(out)["series"]]

    every = [("train", "train"), ("val", "val")]
    assert scanned(sites=["pelvis"], series=["train"]) == every
    for nothing in ({"sites": ["liver"]}, {"series": ["val"]}):
        with pytest.raises(InputError, match="no slice to simulate"):
            scanned(**nothing)


def test_a_site_that_is_not_measured_stands_for_nothing(tmp_path: Path) -> None:
    """As in a smoke run, which measures on val, where only test has a pelvis."""
    small = small_source(tmp_path)
    liver = replace(small.val, scans=[replace(one, sites={"liver": [0, 9]}) for one in small.val.scans])
    setting = Setting(BRIEF, replace(small, val=liver), "vgg19")
    rows = plan(["table1", "table2"], setting)
    assert not any("pelvis" in (*row.sites, *row.thorough) for row in rows)
    assert "No scan of the pelvis is measured" in missing_of(setting)[0]
    assert plan(["table1"], setting._replace(source=small))[0].sites == ("pelvis",)


def test_scans_are_told_apart_by_their_files_and_a_missing_one_is_no_accident(tmp_path: Path) -> None:
    one = small_source(tmp_path / "scans")
    before = one.identity
    assert small_source(tmp_path / "moved").identity == before
    file = next(path for path in sorted((tmp_path / "scans").rglob("*")) if path.is_file())
    file.write_bytes(file.read_bytes() + b"\0")
    longer = one.identity
    file.unlink()
    assert len({before, longer, one.identity}) == 3


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A folder with scans and the three files that describe it."""
    small_source(tmp_path)
    (tmp_path / "scans.yaml").write_text(
        "scans:\n"
        "  - {path: train, split: train, patient: p1, modality: CT, name: first, sites: {pelvis: [0, 99999]}}\n"
        "  - {path: val, split: val, patient: p2, modality: CT}\n"
    )
    (tmp_path / "val.yaml").write_text("scans: [{path: val, modality: CT, patient: p2}]\n")
    (tmp_path / "test.yaml").write_text(
        "split: test\nlooks: looks.csv\nscans: [{path: test, modality: CT, patient: p3}]\n"
    )
    return tmp_path


def test_one_site_is_taken_of_a_scan_by_its_name_in_the_set(described: Path) -> None:
    found = source(described)
    manifest = prepare(found.training, found.root, described / "set")
    assert manifest["series"][0]["id"] == "first"
    assert load_slices(described / "set", "train", ["CT"], found.sites, found.series)


@pytest.mark.parametrize(("file", "other"), [("test.yaml", "p1"), ("test.yaml", "p2"), ("val.yaml", "p1")])
def test_a_patient_who_is_trained_on_is_not_measured_on(described: Path, file: str, other: str) -> None:
    text = (described / file).read_text()
    (described / file).write_text(re.sub("patient: p.", f"patient: {other}", text))
    with pytest.raises(InputError, match="more than one of train, val and test") as refused:
        source(described)
    assert refused.value.code == "split"
