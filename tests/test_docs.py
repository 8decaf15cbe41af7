"""The documentation against the program: snippets run, links lead somewhere, tables name what there is."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import model_questions
import pytest
import typer.main
import yaml
from conftest import require
from scans import dicom_series
from tiny import tiny_weights

import mesr
from mesr import cli, config, errors, job, report
from mesr.grid import Target
from mesr.models import build, registry, weights
from mesr.patients import CohortSpec
from mesr.prepare import SetSpec
from mesr.recipe import TrainConfig
from mesr.results import COLUMNS
from mesr.testset import EvaluationSpec

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
GUIDES = [page for page in PAGES if page.name != "CONTRIBUTING.md"]
"""Pages whose Python a reader runs; CONTRIBUTING's is a file of the package."""

NOTHING = "–"
"""How a table says that there is no default."""


def fences(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page in these languages, in order."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [text for language, text in blocks if language in languages]


def sections(page: Path, level: int) -> dict[str, str]:
    """The text under each heading of a level, by heading."""
    parts = re.split(rf"^{'#' * level} (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(text: str, *header: str) -> list[list[str]]:
    """The rows of all tables in `text` whose header begins so; cells without their blanks."""
    rows: list[list[str]] = []
    wanted = False
    before: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if cells and set("".join(cells)) <= {"-"} and before:
            wanted = before[: len(header)] == list(header)
        elif not cells:
            wanted = False
        elif wanted:
            rows.append(cells)
        before = cells
    return rows


def quoted(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def named(path: Path) -> str:
    """A page's name among the tests."""
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(name="desk")
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder a reader stands in: a study, a report of an earlier run, and shipped weights that are small."""
    dicom_series(tmp_path / "study", size=(3, 20, 24))
    monkeypatch.chdir(tmp_path)
    found = job.discover([Path("study")])
    outcomes = list(job.run_all(found, Target.of(scale=2), Path("earlier"), job.Settings(model="sinc")))
    report.write(Path("report.json"), outcomes, found.notes)
    package = tmp_path / "package"
    (package / "weights").mkdir(parents=True)
    for name in weights.ALIASES.values():
        tiny_weights(package / "weights" / f"{name}.safetensors", name)
    stand_in = SimpleNamespace(files=lambda _: package, as_file=resources.as_file)
    monkeypatch.setattr(weights, "resources", stand_in)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in GUIDES if fences(page, "python")], ids=named)
@pytest.mark.usefixtures("desk")
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path) -> None:
    namespace: dict[str, Any] = {}
    for block in fences(page, "python"):
        exec(compile(block, named(page), "exec"), namespace)


def test_the_model_of_the_worked_example_answers_like_any_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = {name: registry._ARCHITECTURES[name] for name in registry.architectures()}
    monkeypatch.setattr(registry, "_ARCHITECTURES", known)
    (block,) = fences(ROOT / "CONTRIBUTING.md", "python")
    exec(compile(block, "espcn.py", "exec"), {"__name__": "mesr.models.espcn", "__package__": "mesr.models"})
    model = build({"name": "espcn", "args": {"features": 8}}).eval()
    model_questions.answers_every_size(model)
    model_questions.encodes_once_for_every_scale(model)
    model_questions.comes_back_from_its_file_alone("espcn", {"features": 8}, tmp_path)
    model_questions.tiles_give_the_whole(model, "2.5")


def commands(page: Path) -> Iterator[list[str]]:
    """Every command of a page's shell blocks, as words."""
    for block in fences(page, "sh", "console", "bat"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part.replace("\\", "/"), comments=True)
                if words:
                    yield words


@pytest.mark.parametrize("page", [page for page in PAGES if fences(page, "sh", "console", "bat")], ids=named)
def test_the_shell_commands_of_a_page_are_ones_there_are(page: Path) -> None:
    program: Any = typer.main.get_command(cli.app)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for first, *arguments in commands(page):
        if first == "make":
            assert arguments[0] in targets
        if first == "mesr":
            name, *rest = arguments
            given = program.commands[name].make_context(name, rest).params
            if name == "upscale":
                Target.of(scale=given["scale"], spacing=given["spacing"], size=given["size"])


@pytest.mark.parametrize(
    ("page", "number", "kind"),
    [
        ("train.md", 0, SetSpec),
        ("train.md", 1, TrainConfig),
        ("pairs.md", 0, CohortSpec),
        ("evaluate.md", 0, EvaluationSpec),
    ],
)
def test_a_settings_file_of_a_page_is_understood(page: str, number: int, kind: type[object]) -> None:
    block = fences(DOCS / "how-to" / page, "yaml")[number]
    assert isinstance(config.build(kind, yaml.safe_load(block)), kind)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        place = page.parent / target if target else page
        assert place.is_file(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in headings}
            assert anchor in slugs, link


def test_every_page_is_in_the_navigation() -> None:
    def leaves(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for inner in entry.values() if isinstance(entry, dict) else entry:
                yield from leaves(inner)

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(leaves(nav)) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    require("mkdocs", importlib.util.find_spec("material") is not None)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_command_line_page_names_every_command() -> None:
    program: Any = typer.main.get_command(cli.app)
    documented = {name.removeprefix("mesr ") for name in sections(REFERENCE / "command-line.md", 2)}
    assert documented == set(program.commands)


@pytest.mark.parametrize("name", list(typer.main.get_command(cli.app).commands))  # type: ignore[attr-defined]
def test_the_command_line_page_names_every_option_and_its_default(name: str) -> None:
    program: Any = typer.main.get_command(cli.app)
    text = sections(REFERENCE / "command-line.md", 2)[f"mesr {name}"]
    documented = {
        frozenset(quoted(options)): default.strip("`") for options, default, _ in table(text, "option")
    }
    there = {
        frozenset(option.opts): "required"
        if option.required
        else NOTHING
        if option.default in (None, False)
        else str(option.default)
        for option in program.commands[name].params
        if option.param_type_name == "option"
    }
    assert documented == there


def used_codes() -> tuple[dict[str, set[str]], set[str]]:
    """The codes in the source: of errors with the classes that carry them, and of notes."""
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.MesrError)
    }
    raised: dict[str, set[str]] = defaultdict(set)
    raised["missing-extra"], raised["internal"] = {"MissingExtra"}, {"InternalError"}
    raised["memory"] = {"OutOfMemory"}
    noted: set[str] = set()
    for file in (ROOT / "src").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args):
                continue
            code = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
            if call.func.id == "Note":
                assert isinstance(code, str), f"{file.name}:{call.lineno} has a note whose code is no literal"
                noted.add(code)
            elif call.func.id in classes and isinstance(code, str):
                raised[code].add(call.func.id)
    return dict(raised), noted


def test_the_codes_page_names_every_error_and_its_classes() -> None:
    documented = {
        code: set(classes.split(", "))
        for codes, classes, _ in table(sections(REFERENCE / "codes.md", 2)["Errors"], "code", "class")
        for code in quoted(codes)
    }
    assert documented == used_codes()[0]


def test_the_codes_page_names_every_note() -> None:
    rows = table(sections(REFERENCE / "codes.md", 2)["Notes"], "code")
    assert sorted(code for row in rows for code in quoted(row[0])) == sorted(used_codes()[1])


def test_the_codes_page_gives_each_class_its_exit_status() -> None:
    rows = table(sections(REFERENCE / "codes.md", 2)["Errors"], "class")
    assert {quoted(name)[0]: int(status) for name, _, status in rows} == {
        name: value.exit_code
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.MesrError)
    }


def test_the_report_page_names_every_field(desk: Path) -> None:
    def fields(value: Any, at: str = "") -> Iterator[str]:
        for key, inner in value.items():
            if key == "studies":
                yield key
                yield from fields(inner[0], "studies[].")
            elif key in ("versions", "before", "after"):
                yield from fields(inner, f"{at}{key}.")
            else:
                yield at + key

    written = yaml.safe_load((desk / "report.json").read_text(encoding="utf-8"))
    rows = table((REFERENCE / "report.md").read_text(encoding="utf-8"), "field")
    assert [quoted(row[0])[0] for row in rows] == list(fields(written))


def test_the_results_page_names_every_column_in_order() -> None:
    rows = table((REFERENCE / "results.md").read_text(encoding="utf-8"), "column")
    assert tuple(quoted(row[0])[0] for row in rows) == COLUMNS


def test_the_training_page_names_every_setting_and_its_default() -> None:
    def settings(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
        for one in dataclasses.fields(value):
            inner = getattr(value, one.name)
            if dataclasses.is_dataclass(inner):
                yield from settings(inner, f"{at}{one.name}.")
            else:
                yield at + one.name, NOTHING if inner is None else str(inner)

    rows = table((REFERENCE / "training.md").read_text(encoding="utf-8"), "key")
    assert [(quoted(key)[0], default.strip("`")) for key, default, _ in rows] == list(settings(TrainConfig()))


def test_the_weights_page_names_every_untrained_method() -> None:
    rows = table((REFERENCE / "weights.md").read_text(encoding="utf-8"), "name", "method")
    assert sorted(name for row in rows for name in quoted(row[0])) == weights.untrained()


def test_the_python_page_names_every_public_name() -> None:
    assert sorted(heading.strip("`") for heading in sections(REFERENCE / "python.md", 3)) == mesr.__all__


@pytest.mark.parametrize("name", ["read", "upscale", "write", "load"])
def test_the_python_page_gives_a_function_its_arguments(name: str) -> None:
    shown = []
    for one in inspect.signature(getattr(mesr, name)).parameters.values():
        if one.kind is one.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        default = f'"{one.default}"' if isinstance(one.default, str) else one.default
        shown.append(one.name if one.default is one.empty else f"{one.name}={default}")
    text = " ".join(sections(REFERENCE / "python.md", 3)[name].split())
    assert f"`mesr.{name}({', '.join(shown)})" in text


@pytest.mark.parametrize(
    "name", ["Volume", "Geometry", "Slice", "Grid", "Derivation", "Note", "Written", "Card"]
)
def test_the_python_page_names_every_attribute_of_a_value(name: str) -> None:
    kind = getattr(mesr, name)
    fields = getattr(kind, "_fields", None) or [one.name for one in dataclasses.fields(kind)]
    text = sections(REFERENCE / "python.md", 3)[name]
    assert [field for field in fields if not re.search(rf"`{field}\b", text)] == []
