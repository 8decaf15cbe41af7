"""Forms of files, streamed: names, limits, damage, and what is left on disk."""

from __future__ import annotations

import asyncio
import random
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesr.errors import MesrError, TooLarge, UnreadableInput, UsageError
from mesr.web.uploads import receive

TYPE = "multipart/form-data; boundary=XX"


def form(*files: tuple[str, bytes], end: bool = True) -> bytes:
    parts = [
        b'--XX\r\nContent-Disposition: form-data; name="files"; filename="'
        + name.encode()
        + b'"\r\nContent-Type: application/octet-stream\r\n\r\n'
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + (b"--XX--\r\n" if end else b"")


def received(folder: Path, body: bytes, kind: str = TYPE, step: int = 1000, **limits: int) -> list[Path]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    folder.mkdir(exist_ok=True)
    return asyncio.run(receive(chunks(), kind, folder, **limits))


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_files_arrive_whole_however_the_body_is_cut(tmp_path: Path, step: int) -> None:
    contents = [bytes(random.Random(n).randbytes(300 + n)) + b"\r\n--XY" for n in range(3)]
    (folder,) = received(tmp_path / "in", form(*[(f"{n}.dcm", c) for n, c in enumerate(contents)]), step=step)
    assert [file.read_bytes() for file in sorted(folder.iterdir())] == contents


def test_of_a_name_only_what_says_the_format_is_kept(tmp_path: Path) -> None:
    names = ["ZZPHI^MARKER.nii.gz", "../../etc/passwd", "a/b/ZZPHI.DCM", "x\x00.dcm", "scan.php"]
    (folder,) = received(tmp_path / "in", form(*[(name, b"content") for name in names]))
    assert sorted(file.name for file in folder.iterdir()) == [
        "000001.nii.gz",
        "000002",
        "000003.dcm",
        "000004.dcm",
        "000005",
    ]
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_dir()) == ["files", "in", "zips"]


def test_zips_are_looked_in_and_a_file_that_came_alone_must_be_an_image(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.dcm", "text")
    packed = (tmp_path / "a.zip").read_bytes()
    places = received(tmp_path / "in", form(("a.zip", packed), ("b.nii", b"x"), ("empty", b"")))
    assert [place.relative_to(tmp_path / "in").as_posix() for place in places] == [
        "zips/000001",
        "files/000002.nii",
    ]


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"most_bytes": 900}, "upload-too-large"), ({"most_files": 2}, "upload-too-large")],
)
def test_what_is_beyond_a_limit_is_refused_while_it_comes(
    tmp_path: Path, limits: dict[str, int], code: str
) -> None:
    body = form(*[(f"{n}.dcm", b"x" * 400) for n in range(3)])
    with pytest.raises(TooLarge) as caught:
        received(tmp_path / "in", body, step=100, **limits)
    assert caught.value.code == code
    assert sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()) < 900


def test_an_upload_that_ends_early_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput) as caught:
        received(tmp_path / "in", form(("a.dcm", b"x" * 500), end=False))
    assert caught.value.code == "upload-cut"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", form(("a", b"x"))),
        (TYPE, b"no form at all"),
        (TYPE, b'--XX\r\nContent-Disposition: form-data; name="text"\r\n\r\nwords\r\n--XX--\r\n'),
    ],
)
def test_what_is_no_form_of_files_is_refused(tmp_path: Path, kind: str, body: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        received(tmp_path / "in", body, kind)
    assert caught.value.code == "upload"


def test_mutants_of_a_form_are_refused_in_a_sentence_or_taken(tmp_path: Path) -> None:
    sound = form(("a.dcm", b"x" * 200), ("b.nii.gz", bytes(range(256))))
    chance = random.Random(5)
    fates = set()
    for n in range(300):
        mutant = bytearray(sound)
        for _ in range(chance.choice((1, 2, 8))):
            at = chance.randrange(len(mutant))
            mutant[at : at + chance.choice((0, 1, 5))] = chance.randbytes(chance.choice((0, 1, 4)))
        try:
            received(tmp_path / str(n), bytes(mutant), step=chance.choice((3, 64, 1000)))
            fates.add("taken")
        except MesrError as error:
            fates.add(error.code)
    assert fates <= {"taken", "upload", "upload-cut"}
    assert len(fates) == 3
