"""The command line: exit codes, plain sentences, nothing partial, and no patient data anywhere but in DICOM."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from scans import dicom_series
from tiny import tiny_weights
from typer.testing import CliRunner, Result

import mesr
from mesr import job
from mesr.cli import app
from mesr.cli.upscale import Bar

MARKER = re.compile(rb"ZZPHI")


def test_help_and_version_answer() -> None:
    assert "upscale" in _run("--help").output
    assert _run("--version").output.strip() == f"mesr {mesr.__version__}"
    assert _run().exit_code == 2


def test_a_study_is_done_and_told(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(3, 12, 10))
    model = tiny_weights(tmp_path / "w.safetensors")
    done = _run(
        "upscale", tmp_path / "in", "-o", tmp_path / "out", "--spacing", "0.3", "--model", model,
        "--report", tmp_path / "report.json", "--preview",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "spacing 0.3 mm: effective scale" in done.stdout
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [study["status"] for study in found["studies"]] == ["done"]
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    "target",
    [
        [],
        ["--scale", "2", "--size", "9"],
        ["--scale", "0"],
        ["--scale", "-2"],
        ["--scale", "nan"],
        ["--scale", "inf"],
        ["--scale", "1e6"],
        ["--scale", "1e999999999"],
        ["--scale", "two"],
        ["--scale", "2x2x2x2"],
        ["--scale", "1/0"],
        ["--scale", "0.5"],
        ["--scale", "2x2x2"],
        ["--spacing", "-1"],
        ["--spacing", "20"],
        ["--size", "1.5"],
        ["--size", "4"],
        ["--scale", "2", "--exact-spacing"],
        ["--scale", "2", "--device", "abacus"],
        ["--scale", "2", "--precision", "half"],
        ["--scale", "2", "--format", "jpeg"],
        ["--scale", "2", "--modality", "pet"],
        ["--scale", "2", "--modality", "mr"],
        ["--scale", "2", "--model", "nothing-like-it"],
        ["--scale", "2", "--model", "missing.safetensors"],
        ["--scale", "0.5", "--downsample", "--model", "backprojection"],
    ],
    ids=" ".join,
)
def test_nonsense_is_a_usage_error_and_leaves_nothing(target: list[str], scan: Path, tmp_path: Path) -> None:
    given = target if "--model" in target else [*target, "--model", "sinc"]
    done = _run("upscale", scan, "-o", tmp_path / "out", *given)
    assert done.exit_code == 2, done.output
    _assert_plain(done.output)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", [["--size", "40000"], ["--spacing", "1e-9"], ["--size", "32768"]])
def test_a_result_beyond_the_limits_is_refused(target: list[str], scan: Path, tmp_path: Path) -> None:
    done = _run("upscale", scan, "-o", tmp_path / "out", "--model", "sinc", *target)
    assert done.exit_code == 3, done.output
    _assert_plain(done.output)
    assert not (tmp_path / "out").exists()


def test_a_coarser_result_is_made_when_asked_for_by_name(scan: Path, tmp_path: Path) -> None:
    done = _run("upscale", scan, "-o", tmp_path / "out.nii.gz", "--scale", "0.5", "--downsample")
    assert done.exit_code == 0, done.output
    assert mesr.read(tmp_path / "out.nii.gz").geometry.size == (2, 6, 5)


@pytest.mark.parametrize(
    "content", [None, b"", b"plain text", b"%PDF-1.7\n", b"\x89PNG\r\n\x1a\n" + b"0" * 40]
)
def test_what_is_no_image_is_refused_in_a_sentence(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "in.dcm"
    if content is not None:
        path.write_bytes(content)
    done = _run("upscale", path, "-o", tmp_path / "out", "--scale", "2", "--model", "sinc")
    assert done.exit_code == 3
    _assert_plain(done.output)
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = _run("upscale", tmp_path / "in", "-o", tmp_path / "out", "--scale", "2")
    assert done.exit_code == 3
    _assert_plain(done.output)


def test_a_model_that_nothing_is_called_is_told_once_for_all_studies(scan: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.zeros((8, 8), np.float32))
    done = _run(
        "upscale", scan, tmp_path / "other.npy", "-o", tmp_path / "out", "--scale", "2", "--model", "no-such"
    )
    assert done.exit_code == 2
    assert done.stderr.count("No weights are called") == 1
    assert not (tmp_path / "out").exists()


def test_some_refused_is_exit_code_four_and_the_rest_is_done(scan: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"no")
    done = _run("upscale", scan, bad, "-o", tmp_path / "out", "--scale", "2", "--model", "sinc")
    assert done.exit_code == 4
    assert "1 of 2 done." in done.stdout
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_the_input_folder_and_existing_results_are_safe(scan: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in scan.iterdir()}
    for extra in ([], ["--force"]):
        done = _run("upscale", scan, "-o", scan, "--scale", "2", "--model", "sinc", *extra)
        assert done.exit_code == 3, done.output
    assert {path: path.read_bytes() for path in scan.iterdir()} == before
    (tmp_path / "out.nii.gz").write_bytes(b"mine")
    done = _run("upscale", scan, "-o", tmp_path / "out.nii.gz", "--scale", "2", "--model", "sinc")
    assert done.exit_code == 3
    assert (tmp_path / "out.nii.gz").read_bytes() == b"mine"


def test_an_existing_report_is_found_before_the_work(scan: Path, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("kept")
    done = _run(
        "upscale",
        scan,
        "-o",
        tmp_path / "out",
        "--scale",
        "2",
        "--model",
        "sinc",
        "--report",
        tmp_path / "r.json",
    )
    assert done.exit_code == 3
    assert (tmp_path / "r.json").read_text() == "kept"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("extra", [[], ["--force"]], ids=["plain", "forced"])
@pytest.mark.parametrize(
    ("output", "report"),
    [
        ("out", "victim.npy"),
        ("out", "sub/../victim.npy"),
        ("out.npy", "out.npy"),
        ("out", "out"),
        ("out", "out/victim.npy"),
        ("out", "out/victim.preview.png"),
        ("out", "out/victim.npy/report.json"),
        ("deep/out", "deep"),
        ("out", "folder"),
        ("out", "empty"),
        ("out", "victim.npy/report.json"),
        ("out", "x" * 250),
        ("out", "x" * 300),
    ],
    ids=lambda name: name[:30],
)
def test_a_report_that_cannot_stand_where_it_is_named_is_refused_before_the_work(
    output: str, report: str, extra: list[str], tmp_path: Path
) -> None:
    np.save(tmp_path / "victim.npy", np.zeros((8, 8), np.float32))
    (tmp_path / "folder" / "held").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "sub").mkdir()
    before = _tree(tmp_path)
    done = _run(
        "upscale", tmp_path / "victim.npy", "-o", tmp_path / output, "--scale", "2", "--model", "sinc", "--preview",
        "--report", tmp_path / report, *extra,
    )  # fmt: skip
    assert done.exit_code == 2, done.output
    _assert_plain(done.output)
    assert _tree(tmp_path) == before


def test_force_replaces_an_earlier_report_and_no_other_file(scan: Path, tmp_path: Path) -> None:
    asked = (
        "upscale", scan, "-o", tmp_path / "out", "--scale", "2", "--model", "sinc", "--report", tmp_path / "r.json",
        "--force",
    )  # fmt: skip
    assert _run(*asked).exit_code == 0
    assert _run(*asked).exit_code == 0
    for mine in ('{"format": 1, "patients": []}', "{", "notes", "[]"):
        (tmp_path / "r.json").write_text(mine)
        done = _run(*asked)
        assert done.exit_code == 2, done.output
        assert (tmp_path / "r.json").read_text() == mine


@pytest.mark.parametrize("asked", [["-o", "out.nii.gz"], ["-o", "out", "--format", "tiff"]], ids=" ".join)
def test_a_call_refused_before_its_first_study_leaves_no_report(asked: list[str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.zeros((8, 8), np.float32))
    done = _run(
        "upscale", tmp_path / "a.npy", tmp_path / "b.npy", asked[0], tmp_path / asked[1], *asked[2:],
        "--scale", "2", "--model", "sinc", "--report", tmp_path / "r.json",
    )  # fmt: skip
    assert done.exit_code == 2, done.output
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("ending", "status"), [(KeyboardInterrupt, 130), (lambda: SystemExit(143), 143), (ValueError, 1)]
)
def test_the_report_carries_the_status_the_program_ends_with(
    ending: Callable[[], BaseException],
    status: int,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise ending()

    monkeypatch.setattr(Bar, "clear", stop)
    done = _run(
        "upscale", scan, "-o", tmp_path / "out", "--scale", "2", "--model", "sinc", "--report", tmp_path / "r.json"
    )  # fmt: skip
    assert done.exit_code == status
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["exit_code"] == status
    assert [study["status"] for study in found["studies"]] == ["done"]


def test_a_file_without_modality_asks_for_it(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.arange(64, dtype=np.float32).reshape(8, 8))
    model = tiny_weights(tmp_path / "w.safetensors")
    asked = ("upscale", tmp_path / "in.npy", "-o", tmp_path / "out.npy", "--scale", "2", "--model", model)
    done = _run(*asked)
    assert done.exit_code == 2
    assert "--modality" in done.output
    assert _run(*asked, "--modality", "CT").exit_code == 0
    assert np.load(tmp_path / "out.npy").shape == (16, 16)


def test_an_interrupt_ends_in_a_sentence_and_a_report(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bar, "slice", stop)
    done = _run(
        "upscale",
        scan,
        "-o",
        tmp_path / "out",
        "--scale",
        "2",
        "--model",
        "sinc",
        "--report",
        tmp_path / "r.json",
    )
    assert done.exit_code == 130
    _assert_plain(done.output)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    assert json.loads((tmp_path / "r.json").read_text())["studies"] == []


def test_a_bug_is_a_sentence_without_the_exceptions_text(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("ZZPHI^MARKER")

    for where, name in ((job, "apply"), (job, "discover")):
        with monkeypatch.context() as patched:
            patched.setattr(where, name, broken)
            asked = ("upscale", scan, "-o", tmp_path / "out", "--scale", "2", "--model", "sinc")
            done = _run(*asked)
            assert done.exit_code == 1
            assert "bug of mesr" in done.output
            assert "ZZPHI" not in done.output
            _assert_plain(done.output)
            patched.setenv("MESR_DEBUG", "1")
            assert "Traceback" in _run(*asked).output


def test_info_tells_geometry_and_nothing_of_whom(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(4, 12, 10), tilt=18.5)
    np.save(tmp_path / "in.npy", np.zeros((3, 4), np.float32))
    done = _run("info", tmp_path / "in", tmp_path / "in.npy")
    assert done.exit_code == 0
    assert "4 × 12 × 10" in done.stdout
    assert "2.5 × 0.8 × 0.7 mm" in done.stdout
    assert "18.5°" in done.stdout
    assert "not said" in done.stdout
    assert "ZZPHI" not in done.output


def test_info_of_something_else_is_refused(tmp_path: Path) -> None:
    assert _run("info", tmp_path / "nothing").exit_code == 3
    (tmp_path / "in.dcm").write_bytes(b"")
    np.save(tmp_path / "in.npy", np.zeros((3, 4), np.float32))
    assert _run("info", tmp_path / "in.dcm", tmp_path / "in.npy").exit_code == 4


def test_the_way_out_of_an_uneven_series_works(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(3, 12, 10), heights=(0.0, 1.08, 8.08))
    done = _run("upscale", tmp_path / "in", "-o", tmp_path / "out", "--scale", "2", "--model", "sinc")
    assert done.exit_code == 3
    assert "mesr upscale SLICE.dcm -o RESULT.dcm" in done.output
    for n, path in enumerate(scan.paths):
        done = _run("upscale", path, "-o", tmp_path / f"{n}.dcm", "--scale", "2", "--model", "sinc")
        assert done.exit_code == 0, done.output


def test_models_lists_what_there_is_and_prints_a_card(tmp_path: Path) -> None:
    listed = _run("models")
    assert listed.exit_code == 0
    assert {"bicubic", "sinc", "backprojection"} <= {line.split()[0] for line in listed.stdout.splitlines()}
    card = _run("models", tiny_weights(tmp_path / "w.safetensors"))
    assert "name: tiny-1" in card.stdout
    assert "weights_id:" in card.stdout
    assert _run("models", "nothing-like-it").exit_code == 2


def test_prepare_and_train_make_weights_that_upscale(tmp_path: Path) -> None:
    for n in range(4):
        dicom_series(tmp_path / f"p{n}", size=(2, 64, 64), seed=n, study=f"1.2.3.{n}", series=f"1.2.3.{n}.1")
    scans = [tmp_path / f"p{n}" for n in range(4)]
    done = _run("prepare", *scans, "-o", tmp_path / "set")
    assert (done.exit_code, "modality" in done.output) == (2, True)
    done = _run("prepare", *scans, "-o", tmp_path / "set", "--modality", "ct", "--val", "0.25")
    assert done.exit_code == 0, done.output
    assert "3 scans to train on, 1 to validate on" in done.stdout
    (tmp_path / "c.yaml").write_text(
        "name: mine\nmodel: {name: mesr, args: {blocks: 1, features: 8, hidden: 16}}\n"
    )
    asked = (
        "train", tmp_path / "c.yaml", f"set={tmp_path / 'set'}", f"out={tmp_path / 'run'}", "steps=2",
        "sampling.patch=8", "sampling.batch=2", "sampling.high=2.0", "validation.slices=1", "validation.scales=[2.0]",
    )  # fmt: skip
    done = _run(*asked, "--from", tiny_weights(tmp_path / "w.safetensors"))
    assert done.exit_code == 0, done.output
    weights = tmp_path / "run" / "mine.safetensors"
    assert str(weights) in done.stdout.replace("\n", "")
    assert _run(*asked, "steps=3", "stepps=4").exit_code == 2
    done = _run("upscale", scans[0], "-o", tmp_path / "out", "--scale", "1.5", "--model", weights)
    assert done.exit_code == 0, done.output


def test_evaluate_measures_scans_and_pairs(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(1, 48, 48))
    model = tiny_weights(tmp_path / "w.safetensors")
    asked = ("evaluate", "-o", tmp_path / "results", "--models", f"sinc,{model}")
    done = _run(*asked, tmp_path / "in", "--scales", "2,1.5", "--modality", "ct")
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "results" / "results.csv").read_text().splitlines()) == 5
    assert "tiny-1" in (tmp_path / "results" / "tables.md").read_text()
    lr = mesr.upscale(tmp_path / "in", scale=0.5, downsample=True)
    mesr.write(lr, tmp_path / "lr")
    done = _run(*asked, "--pairs", tmp_path / "lr", tmp_path / "in")
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "results" / "results.csv").read_text().splitlines()) == 7
    assert _run("evaluate", "-o", tmp_path / "results").exit_code == 2
    done = _run(*asked, tmp_path / "in", "--scales", "2")
    assert done.exit_code == 0, "the files say that they are CT"
    assert "the 2 rows of this run" in done.output
    np.save(tmp_path / "a.npy", np.zeros((1, 48, 48), np.float32))
    assert _run(*asked, tmp_path / "a.npy").exit_code == 2


def test_no_patient_data_goes_into_a_set_weights_results_or_a_graph(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever `prepare`, `train`, `evaluate` and `export` print, log or write."""
    caplog.set_level("DEBUG", "mesr")

    def spoilt(data: Dataset, k: int) -> None:
        data.StudyDescription = data.SeriesDescription = data.InstitutionName = "ZZPHI^MARKER"

    scans = []
    for n in range(3):
        scan = dicom_series(
            tmp_path / f"p{n}",
            size=(1, 64, 64),
            seed=n,
            study=f"1.2.3.{n}",
            series=f"1.2.3.{n}.1",
            edit=spoilt,
        )
        assert all(MARKER.search(path.read_bytes()) for path in scan.paths)
        scans.append(tmp_path / f"p{n}")
    made = tmp_path / "made"
    made.mkdir()
    (tmp_path / "c.yaml").write_text(
        "name: mine\nmodel: {name: mesr, args: {blocks: 1, features: 8, hidden: 16}}\n"
    )
    weights = made / "run" / "mine.safetensors"
    told = []
    for asked in (
        ("prepare", *scans[:2], "-o", made / "set", "--modality", "ct", "--val", "0.5"),
        ("train", tmp_path / "c.yaml", f"set={made / 'set'}", f"out={made / 'run'}", "steps=2", "sampling.patch=8",
         "sampling.batch=2", "sampling.high=2.0", "validation.scales=[2.0]", "validation.slices=1"),
        ("evaluate", "-o", made / "results", "--models", f"sinc,{weights}", scans[2], "--scales", "2",
         "--modality", "ct"),
        ("export", weights, "--onnx", made / "mine.onnx", "--scale", "2"),
    ):  # fmt: skip
        done = _run(*asked)
        assert done.exit_code == 0, done.output
        told.append(done.output)
    left = _tree(made)
    assert {".json", ".csv", ".md", ".safetensors", ".onnx"} <= {Path(name).suffix for name in left}
    told += [*left, *(record.getMessage() for record in caplog.records)]
    for text in told:
        assert not MARKER.search(text.encode()), text
    for name, content in left.items():
        assert not MARKER.search(content or b""), name


def test_no_patient_data_leaves_dicom(tmp_path: Path) -> None:
    """Everything a run prints, reports, draws or leaves in temporary folders, on good and on broken files."""

    def spoilt(data: Dataset, k: int) -> None:
        data.StudyDescription = data.SeriesDescription = data.InstitutionName = "ZZPHI^MARKER"
        data.ProtocolName = "ZZPHI^MARKER"

    def broken(data: Dataset, k: int) -> None:
        spoilt(data, k)
        data.SliceThickness = 1
        data["SliceThickness"]._value = "ZZPHI^MARKER"

    def cut(data: Dataset, k: int) -> None:
        spoilt(data, k)
        data.PixelData = data.PixelData[:50]

    for name, edit in (("good", spoilt), ("broken", broken), ("cut", cut)):
        dicom_series(tmp_path / "in" / name, size=(2, 12, 10), series=f"1.2.3.{len(name)}", edit=edit)
    model = tiny_weights(tmp_path / "w.safetensors")
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "HOME": str(temporary), "OMP_NUM_THREADS": "1"}
    environment.pop("MESR_DEBUG", None)
    said = b""
    for arguments in (
        ["info", "../in"],
        [
            "upscale",
            "../in",
            "-o",
            "out",
            "--scale",
            "2",
            "--model",
            model,
            "--report",
            "r.json",
            "--preview",
        ],
        ["upscale", "../in/good", "-o", "out.nii.gz", "--scale", "2", "--model", "sinc"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "mesr", *map(str, arguments)],
            cwd=work,
            env=environment,
            capture_output=True,
        )
        assert done.returncode in (0, 4), done.stderr.decode()
        said += done.stdout + done.stderr
    assert b"Traceback" not in said
    assert not MARKER.search(said)
    written = [path for path in [*work.rglob("*"), *temporary.rglob("*")] if path.is_file()]
    assert {"r.json", "out.nii.gz"} <= {path.name for path in written}
    marked = {path.suffix for path in written if MARKER.search(path.read_bytes() + path.name.encode())}
    assert marked == {".dcm"}
    # Kept on purpose, and searched above: matplotlib's fonts, and the convolution compiled for this machine.
    kept = re.compile(r"matplotlib|\.cache/mesr/kernels-\w+\.so$")
    assert [path for path in temporary.rglob("*") if path.is_file() and not kept.search(str(path))] == []


def test_the_program_ends_with_the_exit_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mesr", "upscale", "nothing", "-o", "out", "--scale", "0"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: The scale must be above zero.")


@pytest.fixture(name="scan")
def _scan(tmp_path: Path) -> Path:
    dicom_series(tmp_path / "in", size=(2, 12, 10))
    return tmp_path / "in"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def _tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, and what the files hold."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def _assert_plain(text: str) -> None:
    assert "Traceback" not in text
    assert text.strip()
