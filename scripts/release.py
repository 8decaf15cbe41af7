"""Everything a release is checked by: `make release`, on a clean tree. Leaves its files in dist/, uploads nothing.

1. The version of the package is the newest in CHANGELOG.md, and nothing is uncommitted.
2. The wheel and the source archive are built; the wheel holds the package, its weights and licences, and no more.
3. The wheel is installed in a clean environment, where `mesr demo` must run, and with its extras in another.
4. Every package of the second has a licence that may be passed on with ours, and every npm package that the wheel
   carries in its page's viewer; `dist/licences.csv` lists them.
5. `dist/mesr-VERSION.cdx.json` is the software bill of materials (CycloneDX) of them all.
"""

from __future__ import annotations

import base64
import csv
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
NEEDED = (
    *(f"mesr/weights/{file.name}" for file in sorted((ROOT / "src" / "mesr" / "weights").glob("*.*"))),
    "mesr/kernels/products.c",
    "mesr/kernels/winograd.c",
    "mesr/py.typed",
    "mesr/web/static/index.html",
    "mesr/web/static/vendor/niivue/index.js",
    "mesr/web/static/vendor/niivue/LICENCES.txt",
)
"""What a wheel without would be broken, beside the modules."""
MOST_MEGABYTES = 30
DEVELOPMENT = frozenset({"dev", "docs", "release"})
"""Extras for who works on mesr."""
BUILDING = "@rollup/"
"""What npm installs to build with; `web/vendor.mjs` leaves it out as well."""
REFUSED = re.compile(
    r"\b(A?GPL|GNU (Affero )?General Public|SSPL|Commons Clause|non-?commercial)", re.IGNORECASE
)
ALLOWED = re.compile(r"\b(LGPL|GNU Lesser|GPL[^,;)]{0,20}exception)", re.IGNORECASE)
"""A library that is linked to as it is, and never changed, may be passed on."""

ASK = """
import importlib.metadata as m, json
print(json.dumps([
    {"name": d.metadata["Name"], "version": d.version,
     "expression": d.metadata.get("License-Expression") or "",
     "text": (d.metadata.get("License") or "").strip().split("\\n")[0],
     "classifiers": [c for c in d.metadata.get_all("Classifier") or [] if c.startswith("License")]}
    for d in m.distributions()]))
"""


def licence(told: Mapping[str, object]) -> str:
    """What a package says of its licence, the most precise first; empty where it says nothing."""
    classifiers = [str(one).split(" :: ")[-1] for one in told["classifiers"]]  # type: ignore[attr-defined]
    return str(told["expression"] or "; ".join(classifiers) or told["text"])


def refused(name: str) -> bool:
    """Whether a licence forbids to pass its package on with ours."""
    return bool(REFUSED.search(ALLOWED.sub("", name)))


def extras(project: Mapping[str, Any]) -> list[str]:
    """The extras that users install, of a pyproject.toml."""
    return sorted(set(project["project"]["optional-dependencies"]) - DEVELOPMENT)


class Bundled(NamedTuple):
    """An npm package that the wheel carries: name, version, SPDX licence, SHA-512 in hexadecimal."""

    name: str
    version: str
    licence: str
    digest: str

    @property
    def url(self) -> str:
        """Its package URL."""
        return f"pkg:npm/{quote(self.name)}@{self.version}"


def bundled(lock: Mapping[str, Any]) -> list[Bundled]:
    """The packages that `make web` puts into the page's viewer, of a package-lock.json."""
    found = []
    for place, one in lock["packages"].items():
        name = place.rpartition("node_modules/")[2]
        if name and not name.startswith(BUILDING):
            digest = base64.b64decode(one["integrity"].removeprefix("sha512-")).hex()
            found.append(Bundled(name, one["version"], one.get("license", ""), digest))
    return sorted(found)


def joined(bill: Mapping[str, Any], packages: Iterable[Bundled]) -> dict[str, Any]:
    """A CycloneDX bill of materials with npm packages, on which mesr depends."""
    packages = list(packages)
    components = [
        {
            "type": "library",
            "bom-ref": one.url,
            "name": one.name,
            "version": one.version,
            "purl": one.url,
            "licenses": [{"license": {"id": one.licence}}],
            "hashes": [{"alg": "SHA-512", "content": one.digest}],
        }
        for one in packages
    ]
    ours = {one["bom-ref"] for one in bill["components"] if one["name"] == "mesr"}
    links = [
        {**link, "dependsOn": [*link.get("dependsOn", ()), *(one.url for one in packages)]}
        if link["ref"] in ours
        else link
        for link in bill.get("dependencies", ())
    ]
    links += [{"ref": one.url} for one in packages]
    return {**bill, "components": [*bill["components"], *components], "dependencies": links}


def unfit(names: Iterable[str]) -> list[str]:
    """What is wrong with the list of files in a wheel."""
    held = set(names)
    missing = [name for name in NEEDED if name not in held]
    package = [name for name in held if name.startswith("mesr/")]
    modules = [f"mesr/{path.relative_to(ROOT / 'src/mesr')}" for path in (ROOT / "src/mesr").rglob("*.py")]
    missing += [name for name in modules if name not in held]
    strange = [name for name in held if not name.startswith("mesr/") and ".dist-info/" not in name]
    strange += [name for name in package if name.endswith((".pyc", ".so", ".dcm", ".ipynb"))]
    licences = {Path(name).name for name in held if ".dist-info/licenses/" in name}
    missing += sorted({"LICENSE", "NOTICE"} - licences)
    return [f"missing: {name}" for name in missing] + [f"not ours to ship: {name}" for name in strange]


def run(*command: str | Path, inside: Path = ROOT) -> str:
    """A command's output; ends the release where it fails."""
    done = subprocess.run(
        [str(one) for one in command], cwd=inside, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def installed(place: Path, wanted: str | Path) -> Path:
    """A new environment with a package and what it needs; its folder of programs."""
    run(sys.executable, "-m", "venv", place)
    for one in ("torch", wanted):
        run(place / "bin" / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", one)
    return place / "bin"


def main() -> None:
    version = run(sys.executable, "-c", "import mesr; print(mesr.__version__)").strip()
    newest = re.search(
        r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    problems = []
    if newest is None or newest[1] != version:
        problems.append(
            f"CHANGELOG.md's newest version is {newest and newest[1]}, the package's is {version}"
        )
    if changed := run("git", "status", "--porcelain").strip():
        problems.append(f"the tree is not clean:\n{changed}")
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (wheel,) = DIST.glob(f"mesr-{version}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        problems += unfit(archive.namelist())
    if wheel.stat().st_size > MOST_MEGABYTES << 20:
        problems.append(f"the wheel is larger than {MOST_MEGABYTES} MiB")
    with tempfile.TemporaryDirectory() as scratch:
        print(run(installed(Path(scratch) / "plain", wheel) / "mesr", "demo", inside=Path(scratch)))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        python = installed(Path(scratch) / "whole", f"{wheel}[{','.join(extras(project))}]") / "python"
        told = json.loads(run(python, "-c", ASK))
        bill = DIST / f"mesr-{version}.cdx.json"
        run(sys.executable, "-m", "cyclonedx_py", "environment", python, "--output-file", bill)
    packages = bundled(json.loads((ROOT / "web/package-lock.json").read_text(encoding="utf-8")))
    whole = joined(json.loads(bill.read_text(encoding="utf-8")), packages)
    bill.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    rows = sorted((one["name"], one["version"], licence(one)) for one in told)
    rows += [(f"{one.name} (npm)", one.version, one.licence) for one in packages]
    with (DIST / "licences.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("package", "version", "licence"), *rows])
    problems += [f"{name} {number} is under {found}" for name, number, found in rows if refused(found)]
    problems += [f"{name} {number} does not say its licence" for name, number, found in rows if not found]
    if problems:
        sys.exit("Not fit to release:\n" + "\n".join(f"* {one}" for one in problems))
    print(f"mesr {version}: {wheel.name}, licences.csv and {bill.name} are in dist/, fit to release.")


if __name__ == "__main__":
    main()
