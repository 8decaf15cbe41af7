"""`mesr demo`: from a real slice to a result, two pictures and a proof; safe to run again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_weights
from typer.testing import CliRunner

import mesr
from mesr import demo
from mesr.cli import app
from mesr.errors import InputError, OutputError


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo's folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    model = tiny_weights(folder / "w.safetensors")
    done = CliRunner().invoke(app, ["demo", "-o", str(folder / "mesr-demo"), "--model", str(model)])
    assert done.exit_code == 0, done.output
    return folder / "mesr-demo", done.stdout


@pytest.mark.slow
def test_the_result_is_a_finer_dicom_slice(made: tuple[Path, str]) -> None:
    sr = mesr.read(made[0] / "head-x2.5.dcm")
    assert sr.geometry.size == (1, 1280, 1280)
    assert sr.spacing[1:] == pytest.approx((0.431 / 2.5, 0.431 / 2.5))
    assert (sr.modality, sr.unit) == ("CT", "HU")


@pytest.mark.slow
def test_pictures_and_figures_are_where_it_says(made: tuple[Path, str]) -> None:
    folder, said = made
    for name in ("head-x2.5.dcm", "head-x2.5.preview.png", "proof.png"):
        assert (folder / name).stat().st_size > 1000
        assert str(folder / name) in said
    assert demo.RESEARCH in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if len(line.split()) == 3}
    assert {"bicubic", "sinc", "tiny-1"} <= set(rows)
    psnr, rmse = (float(value) for value in rows["sinc"])
    assert 40 < psnr < 60
    assert 1 < rmse < 50


@pytest.mark.slow
def test_only_its_own_folder_is_replaced(
    made: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_prove", lambda *_: {})
    monkeypatch.setattr(demo, "SCALE", demo.Fraction(1))
    model = str(tiny_weights(tmp_path / "w.safetensors"))
    own = tmp_path / "own"
    demo.demonstrate(own, model)
    first = (own / demo.RESULT).stat().st_ino
    demo.demonstrate(own, model)
    assert (own / demo.RESULT).stat().st_ino != first
    for spoil in (lambda: (own / "thesis.txt").write_text("mine"), (own / demo.OWN).unlink):
        spoil()
        with pytest.raises(OutputError) as raised:
            demo.demonstrate(own, model)
        assert raised.value.code == "other-files"
        assert (own / "thesis.txt").exists()
    assert (own / demo.RESULT).exists()


def test_a_failed_demo_leaves_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "d"), "--model", "nothing-like-it"])
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_pydicom_without_the_slice_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SAMPLE", "not-there.dcm")
    with pytest.raises(InputError) as raised:
        demo.demonstrate(tmp_path / "d")
    assert raised.value.code == "no-sample"
