"""Nothing half written, nothing overwritten, no name that leaves its folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError

from mesr import tensors
from mesr.errors import OutputError
from mesr.files import (
    atomic_folder,
    atomic_path,
    check_file,
    check_replaceable,
    counted,
    made,
    plain_text,
    safe_name,
)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("x")
        assert not target.exists()
        assert temporary.suffix == ".txt"
    assert target.read_text() == "x"
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


def test_a_folder_is_made_or_said_to_be_impossible(tmp_path: Path) -> None:
    assert made(tmp_path / "a" / "b") == made(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError) as refused:
        made(tmp_path / "file" / "b")
    assert refused.value.code == "unwritable"


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "b") as folder:
        (folder / "x").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OutputError) as refused, atomic_path(target):
        pass
    assert refused.value.code == "exists"
    with atomic_path(target, force=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_a_forced_folder_that_fails_gives_the_old_one_back(tmp_path: Path) -> None:
    target = tmp_path / "series"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(target, force=True) as folder:
        (folder / "new").write_text("new")
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["old"]
    with atomic_folder(target, force=True) as folder:
        (folder / "new").write_text("new")
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["series"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("held", [[], ["other"]])
def test_a_file_is_never_begun_where_a_folder_is(tmp_path: Path, force: bool, held: list[str]) -> None:
    target = tmp_path / "a.txt"
    target.mkdir()
    for name in held:
        (target / name).write_text("kept")
    with pytest.raises(OutputError) as refused, atomic_path(target, force=force):
        pytest.fail("work was begun")
    assert refused.value.code in ("exists", "unwritable")
    assert [p.name for p in target.iterdir()] == held


def test_a_name_that_no_file_can_have_is_refused_before_the_work(tmp_path: Path) -> None:
    for length in (245, 300):
        with pytest.raises(OutputError) as refused:
            check_file(tmp_path / ("x" * length))
        assert refused.value.code == "unwritable"


def test_a_folder_is_replaced_only_where_it_is_an_earlier_result(tmp_path: Path) -> None:
    def check(folder: Path, *inputs: Path) -> str:
        try:
            check_replaceable(
                folder, inputs, lambda f: (f / "ours").exists(), "It holds other things.", force=True
            )
        except OutputError as error:
            return error.code
        return ""

    folder = tmp_path / "out"
    assert check(folder) == ""
    folder.mkdir()
    assert check(folder) == ""
    (folder / "x").write_text("x")
    assert check(folder) == "other-files"
    (folder / "ours").write_text("")
    assert check(folder) == ""
    assert check(folder, folder / "x") == "output-is-input"
    assert check(folder, folder) == "output-is-input"
    assert check(folder, tmp_path / "elsewhere") == ""
    assert check(folder / "x") == "other-files"


def test_one_is_counted_in_the_singular() -> None:
    assert counted(1, "slice is", "slices are") == "1 slice is"
    assert counted(0, "slice is", "slices are") == "0 slices are"


def test_a_folder_that_cannot_be_written_is_refused_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError) as refused, atomic_path(tmp_path / "file" / "a.txt"):
        pass
    assert refused.value.code == "unwritable"
    assert str(tmp_path) not in str(refused.value)


def test_a_killed_writer_leaves_no_file_under_the_final_name(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from mesr.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); print('ready', flush=True); time.sleep(60)\n"
    )
    target = tmp_path / "a.txt"
    with subprocess.Popen([sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait(10)
    time.sleep(0)
    assert not target.exists()


@pytest.mark.parametrize(
    "name", ["../../etc", "/abs", "a/b", "..", "", "$(id)", "a\0b", "name\u202etxt", "é" * 500]
)
def test_a_safe_name_stays_in_its_folder(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert safe not in (".", "..")
    assert set(safe) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert len(safe) <= 40


def test_plain_text_has_no_controls_and_an_end() -> None:
    assert plain_text("a\x1b[31mb\nc\u202ed") == "a [31mb c d"
    assert len(plain_text("x" * 100_000)) == 64


def test_what_the_system_refuses_of_tensors_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensors, "save_file", full)
    with pytest.raises(OutputError) as refused:
        tensors.write_tensors(tmp_path / "a.safetensors", {}, {})
    assert refused.value.code == "unwritable"
    assert "No space left on device" in refused.value.sentence
    assert not list(tmp_path.iterdir())
