"""The rules a release is checked by."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "release", Path(__file__).resolve().parents[1] / "scripts/release.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
release = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(release)


@pytest.mark.parametrize(
    ("licence", "refused"),
    [
        ("GPL-3.0-or-later", True),
        ("GNU General Public License v2 (GPLv2)", True),
        ("GNU Affero General Public License v3", True),
        ("AGPL-3.0", True),
        ("CC-BY-NC non-commercial", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("LGPL-2.1-or-later", False),
        ("Apache-2.0 AND GPL-3.0-only WITH GCC-exception-3.1", False),
        ("BSD-3-Clause AND MIT", False),
    ],
)
def test_a_licence_that_binds_ours_is_refused(licence: str, refused: bool) -> None:
    assert release.refused(licence) == refused


def test_the_most_precise_word_on_a_licence_counts() -> None:
    told = {
        "expression": "MIT",
        "text": "see file",
        "classifiers": ["License :: OSI Approved :: BSD License"],
    }
    assert release.licence(told) == "MIT"
    assert release.licence(told | {"expression": ""}) == "BSD License"
    assert release.licence({"expression": "", "text": "ISC", "classifiers": []}) == "ISC"


def test_a_wheel_holds_the_package_and_nothing_else() -> None:
    package = release.ROOT / "src" / "mesr"
    modules = [f"mesr/{path.relative_to(package)}" for path in package.rglob("*.py")]
    whole = [
        *modules,
        *release.NEEDED,
        "mesr-1.dist-info/licenses/LICENSE",
        "mesr-1.dist-info/licenses/NOTICE",
    ]
    assert release.unfit(whole) == []
    assert release.unfit([*whole, "tests/test_x.py"]) == ["not ours to ship: tests/test_x.py"]
    assert release.unfit([*whole, "mesr/data/head.dcm"]) == ["not ours to ship: mesr/data/head.dcm"]
    assert release.unfit(whole[1:]) == [f"missing: {whole[0]}"]
    assert release.unfit(whole[:-1]) == ["missing: NOTICE"]
