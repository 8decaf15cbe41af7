"""The public names, and `mesr.upscale`: what is chosen for the user, and what the user is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scans import dicom_series
from tiny import tiny_weights
from volumes import head, scan_of

import mesr
from mesr.errors import UsageError, WeightsError
from mesr.models import weights
from mesr.upscaling import PREFERRED, chosen, wording

MESR, LITE = weights.ALIASES["mesr"], weights.ALIASES["mesr-lite"]

PUBLIC = """
    ArraySlices Card Derivation Geometry GeometryInput Grid InputError MesrError MissingExtra Note OutputError
    Slice Target TooLarge UnreadableInput UnsupportedInput UsageError Volume WeightsError Written __version__
    load read upscale write
"""


def test_the_public_names_are_these_and_all_are_there() -> None:
    assert mesr.__all__ == sorted(PUBLIC.split())
    assert set(dir(mesr)) == set(mesr.__all__)
    for name in mesr.__all__:
        assert getattr(mesr, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="upscal"):
        _ = mesr.upscal


@pytest.mark.parametrize("module", ["mesr", "mesr.cli", "mesr.io"])
def test_torch_is_not_imported_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; mods = ('torch', 'pydicom', 'matplotlib'); print([m for m in mods if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_upscaling_from_the_command_line_imports_nothing_of_the_extras(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(1, 12, 10))
    code = (
        "import sys; sys.argv[1:] = ['upscale', 'in', '-o', 'out', '--scale', '2', '--model', 'sinc']\n"
        "import mesr.cli\n"
        "try: mesr.cli.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "extras = ('fastapi', 'starlette', 'uvicorn', 'python_multipart', 'pynetdicom', 'ray', 'highdicom', 'onnx', 'mesr.web')\n"
        "print([name for name in extras if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.strip() == "[]", done.stderr
    assert list((tmp_path / "out").rglob("*.dcm"))


def test_three_lines_take_a_scan_from_file_to_file(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(3, 12, 10))
    sr = mesr.upscale(mesr.read(tmp_path / "in"), scale=2.5, model="sinc")
    written = mesr.write(sr, tmp_path / "out")
    assert sr.array.shape == (3, 30, 25)
    assert sr.array.dtype == np.float32
    assert sr.spacing == pytest.approx((2.5, 0.32, 0.28))
    assert len(written.paths) == len(scan.paths)
    back = mesr.read(tmp_path / "out")
    np.testing.assert_allclose(back.array, sr.array, atol=0.5001)


def test_a_path_is_read_and_loaded_weights_are_taken(tmp_path: Path) -> None:
    dicom_series(tmp_path / "in", size=(1, 12, 10))
    loaded = mesr.load(tiny_weights(tmp_path / "w.safetensors"))
    by_path = mesr.upscale(tmp_path / "in", size="30x24", model=tmp_path / "w.safetensors")
    by_hand = mesr.upscale(str(tmp_path / "in"), size=(30, 24), model=loaded)
    assert by_path.derivation is not None
    assert by_path.derivation.model == "tiny-1"
    assert by_path.derivation.requested == "size 30x24"
    np.testing.assert_array_equal(by_path.array, by_hand.array)


def test_an_array_is_told_how_to_become_a_volume() -> None:
    with pytest.raises(UsageError, match="ArraySlices"):
        mesr.upscale(np.zeros((1, 4, 4)), scale=2)  # type: ignore[arg-type]


def test_an_interpolator_needs_no_modality() -> None:
    assert mesr.upscale(scan_of(head() + 1024), scale=2, model="bicubic").modality is None


@pytest.fixture(name="shipped")
def _shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the package's own weights."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(weights.resources, "files", lambda _: tmp_path)
    return tmp_path / "weights"


def test_auto_takes_the_quick_shipped_weights_for_ct_where_both_are_there(shipped: Path) -> None:
    tiny_weights(shipped / f"{MESR}.safetensors", MESR)
    assert chosen(scan_of(head(), modality="CT")) == (MESR, ())
    tiny_weights(shipped / f"{LITE}.safetensors", LITE)
    assert chosen(scan_of(head(), modality="CT")) == (LITE, ())


def test_auto_takes_weights_that_know_mr_else_the_sinc_and_says_so(shipped: Path) -> None:
    tiny_weights(shipped / f"{MESR}.safetensors", MESR)
    name, notes = chosen(scan_of(head(), modality="MR"))
    assert (name, [note.code for note in notes]) == ("sinc", ["no-mr-weights"])
    tiny_weights(shipped / f"{LITE}.safetensors", LITE, modalities=["CT", "MR"])
    assert chosen(scan_of(head(), modality="MR")) == (LITE, ())


@pytest.mark.parametrize("name", weights.shipped())
def test_shipped_weights_whose_texture_may_be_invented_say_so_and_are_never_taken_unasked(name: str) -> None:
    _, card = weights.load(name)
    assert card.perceptual == ("perceptual" in name)
    assert not (card.perceptual and name in PREFERRED)


def test_auto_without_shipped_weights_is_a_plain_error(shipped: Path) -> None:
    with pytest.raises(WeightsError) as raised:
        mesr.upscale(scan_of(head(), modality="CT"), scale=2)
    assert raised.value.code == "none-shipped"


def test_auto_interpolates_what_is_to_be_coarser() -> None:
    sr = mesr.upscale(scan_of(head()), scale=0.5, downsample=True)
    assert sr.derivation is not None
    assert sr.derivation.model == "bicubic"
    assert "interpolated" in {note.code for note in sr.notes}


@pytest.mark.parametrize(
    ("scale", "spacing", "modality", "codes"),
    [
        (2, 0.8, "CT", set()),
        (4, 3.9, "CT", set()),
        (4.5, 0.8, "CT", {"outside-scale"}),
        (2, 0.3, "CT", {"outside-spacing"}),
        (2, 4.5, "CT", {"outside-spacing"}),
        (2, 0.8, "MR", {"outside-modality"}),
        (1, 0.3, "MR", set()),
    ],
)
def test_use_outside_the_training_ranges_is_warned_of(
    scale: float, spacing: float, modality: str, codes: set[str], tmp_path: Path
) -> None:
    model = tiny_weights(tmp_path / "w.safetensors")
    volume = scan_of(head(), modality=modality, spacing=spacing)
    sr = mesr.upscale(volume, scale=scale, model=model)
    assert {note.code for note in sr.notes} == codes


def test_results_of_perceptual_weights_are_marked_wherever_they_go(tmp_path: Path) -> None:
    """In the notes, in the DICOM description, and when the DICOM result is read again."""
    dicom_series(tmp_path / "study")
    model = tiny_weights(tmp_path / "w.safetensors", losses={"l1": 1.0, "adversarial": 0.001})
    sr = mesr.upscale(tmp_path / "study", scale=2, model=model)
    assert "perceptual-weights" in {note.code for note in sr.notes}
    mesr.write(sr, tmp_path / "out")
    written = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")))
    assert "fine texture may be invented" in written.DerivationDescription
    assert "perceptual-source" in {note.code for note in mesr.read(tmp_path / "out").notes}
    plain = tiny_weights(tmp_path / "plain.safetensors", losses={"l1": 1.0, "adversarial": 0.0})
    assert "perceptual-weights" not in {
        n.code for n in mesr.upscale(tmp_path / "study", scale=2, model=plain).notes
    }


def test_ct_values_that_are_not_hu_are_warned_of(tmp_path: Path) -> None:
    volume = scan_of(head(), modality="CT", unit="")
    sr = mesr.upscale(volume, scale=2, model=tiny_weights(tmp_path / "w.safetensors"))
    assert {note.code for note in sr.notes} == {"not-hu"}


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"scale": 2.5}, "scale 2.5"),
        ({"scale": "1.3x2.2"}, "scale 1.3x2.2"),
        ({"scale": "10/3"}, "scale 10/3"),
        ({"spacing": 0.5}, "spacing 0.5 mm"),
        ({"spacing": "0.5", "exact_spacing": True}, "spacing 0.5 mm exactly"),
        ({"size": 1024}, "size 1024"),
    ],
)
def test_a_target_is_worded_as_a_user_would(wanted: dict[str, object], text: str) -> None:
    assert wording(mesr.Target.of(**wanted)) == text  # type: ignore[arg-type]
