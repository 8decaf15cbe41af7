"""The one door: what is read as one volume, where results go, what is never overwritten or left half done."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scans import dicom_series
from volumes import counted, enlarged, upright, volume

from mesr import io
from mesr.errors import InputError, OutputError, UnreadableInput, UsageError
from mesr.geometry import Geometry
from mesr.volume import Slice


def test_reading_several_volumes_as_one_is_refused_with_their_number(tmp_path: Path) -> None:
    io.write(volume(), tmp_path / "a.nii")
    io.write(volume(), tmp_path / "b.nii")
    with pytest.raises(InputError, match="2 were found") as caught:
        io.read(tmp_path)
    assert caught.value.code == "several-volumes"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".npy"])
def test_nothing_is_overwritten_without_force(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"a{suffix}"
    io.write(volume(), target)
    before = target.read_bytes()
    with pytest.raises(OutputError) as caught:
        io.write(volume(array=counted() + 1), target)
    assert caught.value.code == "exists"
    assert target.read_bytes() == before
    io.write(volume(array=counted() + 1), target, force=True)
    np.testing.assert_array_equal(io.read(target).array, counted() + 1)


def test_the_input_is_never_its_own_output_even_with_force(tmp_path: Path) -> None:
    io.write(volume(), tmp_path / "a.nii")
    back = io.read(tmp_path / "a.nii")
    with pytest.raises(OutputError) as caught:
        io.write(back, tmp_path / "a.nii", force=True)
    assert caught.value.code == "output-is-input"
    np.testing.assert_array_equal(back.array, counted())


def test_force_never_replaces_a_folder_with_other_things_in_it(tmp_path: Path) -> None:
    stack = tmp_path / "stack"
    io.write(volume(), stack, format="png")
    io.write(volume(), stack, format="png", force=True)
    (stack / "thesis.docx").write_text("years of work")
    with pytest.raises(OutputError) as caught:
        io.write(volume(), stack, format="png", force=True)
    assert caught.value.code == "other-files"
    assert (stack / "thesis.docx").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError) as caught:
        io.write(volume(), tmp_path / "file/a.nii")
    assert caught.value.code == "unwritable"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ""])
def test_a_slice_that_fails_leaves_nothing_behind(tmp_path: Path, suffix: str) -> None:
    class Failing:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, k: int) -> Slice:
            if k == 2:
                raise UnreadableInput("damaged", "Slice 2 is damaged.")
            return Slice(counted()[k])

    broken = volume()
    object.__setattr__(broken, "slices", Failing())
    with pytest.raises(UnreadableInput):
        io.write(broken, tmp_path / f"a{suffix}", format=None if suffix else "png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.npy", "stack"])
def test_a_killed_writer_leaves_nothing_visible(tmp_path: Path, target: str) -> None:
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from mesr import io
from volumes import volume
def wait(k):
    if k == 1:
        print("half", flush=True)
        time.sleep(60)
io.write(volume(unit="HU"), {str(tmp_path / target)!r}, format="png" if {target == "stack"} else None, on_slice=wait)
"""
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"half\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    io.write(volume(unit="HU"), tmp_path / target, format="png" if target == "stack" else None)


def test_each_slice_is_reported_after_it_was_written(tmp_path: Path) -> None:
    seen: list[int] = []
    io.write(volume(), tmp_path / "a.nrrd", on_slice=seen.append)
    assert seen == [0, 1, 2, 3]


def test_a_suffix_names_a_file_and_anything_else_a_folder(tmp_path: Path) -> None:
    written = io.write(volume(), tmp_path / "out", format="nii")
    assert written.paths == (tmp_path / "out/image.nii",)
    assert io.write(volume(), tmp_path / "plain").paths == (tmp_path / "plain/image.npy",)
    assert io.write(io.read(tmp_path / "out"), tmp_path / "again").paths == (tmp_path / "again/image.nii.gz",)


@pytest.mark.parametrize(
    ("name", "format", "code"),
    [
        ("a.nii", "nrrd", "format"),
        ("a", "jpeg", "format"),
        ("a.png", None, "needs-folder"),
        ("a.dcm", None, "needs-folder"),
    ],
)
def test_a_name_that_cannot_hold_the_result_is_a_usage_error(
    tmp_path: Path, name: str, format: str | None, code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        io.write(volume(), tmp_path / name, format=format)
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_results_of_many_inputs_get_their_own_names_in_the_folder(tmp_path: Path) -> None:
    io.write(volume(), tmp_path / "in/a.nii")
    item = io.discover([tmp_path / "in"]).items[0]
    assert io.output_path("out", item) == Path("out/a.nii")
    assert io.output_path("out", item, format="mha") == Path("out/a.mha")
    assert io.output_path("out", item, format="png") == Path("out/a")
    assert io.output_path("out.nrrd", item) == Path("out.nrrd")
    with pytest.raises(UsageError):
        io.output_path("out.nrrd", item, alone=False)


def test_a_series_goes_out_as_a_series_and_comes_back(tmp_path: Path) -> None:
    made = dicom_series(tmp_path / "in")
    scan = io.read(tmp_path / "in")
    assert (scan.modality, scan.unit) == ("CT", "HU")
    written = io.write(enlarged(scan, "2"), tmp_path / "out")
    assert len(written.paths) == len(made.paths)
    assert all(path.is_file() for path in written.paths)
    back = io.read(tmp_path / "out")
    np.testing.assert_array_equal(back.array[:, ::2, ::2], made.values)
    assert back.spacing == pytest.approx((2.5, 0.4, 0.35))


def test_a_single_slice_goes_out_as_one_file_where_the_name_says_so(tmp_path: Path) -> None:
    made = dicom_series(tmp_path / "in", size=(1, 32, 40))
    written = io.write(io.read(made.paths[0]), tmp_path / "out/one.dcm")
    assert written.paths == (tmp_path / "out/one.dcm",)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one.dcm"]
    np.testing.assert_array_equal(io.read(tmp_path / "out/one.dcm").array, made.values)


@pytest.mark.parametrize("format", ["nii", "nrrd", "mha", "png"])
def test_hounsfield_units_go_into_other_formats_as_integers(tmp_path: Path, format: str) -> None:
    made = dicom_series(tmp_path / "in")
    written = io.write(io.read(tmp_path / "in"), tmp_path / "out", format=format)
    back = np.concatenate([io.read(path).array for path in written.paths])
    np.testing.assert_array_equal(back, made.values)
    assert sum(path.stat().st_size for path in written.paths) < 3 * made.values.size


def test_a_folder_with_the_input_is_never_the_output(tmp_path: Path) -> None:
    made = dicom_series(tmp_path / "in")
    for format in ("dicom", "png"):
        with pytest.raises(OutputError) as caught:
            io.write(io.read(tmp_path / "in"), tmp_path / "in", format=format, force=True)
        assert caught.value.code == "output-is-input"
    assert all(path.exists() for path in made.paths)


def test_an_array_has_no_patient_to_write_a_series_for(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        io.write(volume(), tmp_path / "out", format="dicom")
    assert caught.value.code == "no-dicom-header"
    assert list(tmp_path.iterdir()) == []


def test_the_door_imports_no_format_before_it_is_met() -> None:
    script = """
import sys, mesr.io
from pathlib import Path
mesr.io.discover([Path("missing")])
print([m for m in ("torch", "nibabel", "nrrd", "pydicom", "PIL", "SimpleITK") if m in sys.modules])
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"


def test_an_open_volume_needs_little_memory_and_one_that_is_compressed_too(tmp_path: Path) -> None:
    size = (64, 256, 256)
    place = Geometry(size, upright().spacing)
    lazy = volume(place, np.zeros(size, dtype=np.float32))
    for name in ("a.nii", "a.nrrd"):
        io.write(lazy, tmp_path / name)
    script = """
import resource, sys
import nibabel, nrrd
from mesr import io
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
volume = io.read(sys.argv[1])
for k in range(len(volume.slices)):
    volume.slices[k]
print(peak() - before)
"""
    for name in ("a.nii", "a.nrrd"):
        command = [sys.executable, "-c", script, str(tmp_path / name)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True)
        assert int(printed.stdout) < 8192, f"{printed.stdout} KiB for a volume of 16 MiB"


@pytest.mark.parametrize("name", ["out.jpg", "out.TIF", "out.dicom"])
def test_a_name_that_ends_like_another_picture_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"not written as \.") as refused:
        io.write(volume(), tmp_path / name)
    assert refused.value.code == "format"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "results.dicom").mkdir()
    assert io.write(volume(), tmp_path / "results.dicom", format="nrrd").paths
