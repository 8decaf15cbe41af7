"""The rules a release is checked by."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
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


def test_every_extra_that_users_install_is_looked_at() -> None:
    project = tomllib.loads((release.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = release.extras(project)
    assert {"web", "node", "cluster", "itk", "maps", "onnx"} <= set(found)
    assert not {"dev", "docs", "release"} & set(found)


def test_what_npm_brings_into_the_wheel_is_listed() -> None:
    packages = release.bundled(json.loads((release.ROOT / "web/package-lock.json").read_text()))
    assert ("@niivue/niivue", "0.69.0", "BSD-2-Clause") in [one[:3] for one in packages]
    assert not any("rollup" in one.name for one in packages)
    assert all(re.fullmatch("[0-9a-f]{128}", one.digest) for one in packages)
    licences = release.ROOT / "src/mesr/web/static/vendor/niivue/LICENCES.txt"
    if licences.exists():
        told = re.findall(r"^(\S+) (\d\S*), \S+$", licences.read_text(encoding="utf-8"), re.MULTILINE)
        assert sorted(told) == [(one.name, one.version) for one in packages]


def test_a_bill_of_materials_has_what_npm_brings() -> None:
    lock = {
        "packages": {
            "": {"name": "mesr-page"},
            "node_modules/@a/b": {"version": "1.0.0", "license": "MIT", "integrity": "sha512-AAEC"},
            "node_modules/c/node_modules/d": {
                "version": "2.0.0",
                "license": "ISC",
                "integrity": "sha512-/w==",
            },
            "node_modules/@rollup/x": {"version": "4.0.0", "license": "MIT", "integrity": "sha512-AAEC"},
        }
    }
    packages = release.bundled(lock)
    assert [tuple(one) for one in packages] == [
        ("@a/b", "1.0.0", "MIT", "000102"),
        ("d", "2.0.0", "ISC", "ff"),
    ]
    bill = {
        "bomFormat": "CycloneDX",
        "components": [{"bom-ref": "mesr==1", "name": "mesr"}, {"bom-ref": "numpy==2", "name": "numpy"}],
        "dependencies": [{"ref": "mesr==1", "dependsOn": ["numpy==2"]}, {"ref": "numpy==2"}],
    }
    whole = release.joined(bill, packages)
    refs = ["pkg:npm/%40a/b@1.0.0", "pkg:npm/d@2.0.0"]
    assert [one["bom-ref"] for one in whole["components"]] == ["mesr==1", "numpy==2", *refs]
    assert whole["components"][2]["licenses"] == [{"license": {"id": "MIT"}}]
    assert whole["dependencies"][0] == {"ref": "mesr==1", "dependsOn": ["numpy==2", *refs]}
    assert {one["ref"] for one in whole["dependencies"]} == {one["bom-ref"] for one in whole["components"]}
    assert whole["bomFormat"] == "CycloneDX"


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
