"""Running: rows are trained, measured, skipped when done, gone on with when stopped, and reported when they fail."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_source import BRIEF, small_source

from mesr import results
from mesr.errors import InputError, OutputError, UsageError
from mesr.reproduce import chosen, figures, findings, networks, publish, reproduce, running
from mesr.reproduce.logs import progress, slope
from mesr.reproduce.measured import Measured
from mesr.reproduce.networks import SIMULATED_SLICES
from mesr.reproduce.plan import plan
from mesr.reproduce.rows import Row, untrained
from mesr.reproduce.running import Runner
from mesr.reproduce.simulated import is_simulated
from mesr.reproduce.state import State, vgg_of
from mesr.reproduce.telling import Telling
from mesr.reproduce.trainings import Setting
from mesr.results import read_results

SYSTEMS = ("bicubic", "srcnn", "mesr")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Setting, Path]:
    """Two systems of Table 2 and bicubic, trained for a few steps and measured."""
    folder = tmp_path_factory.mktemp("reproduce")
    setting = Setting(BRIEF, small_source(folder / "scans"), "vgg19")
    runner = _runner(setting, folder / "out")
    fates = runner.run(_rows(runner))
    assert {fate.status for fate in fates.values()} == {"done"}
    return setting, folder / "out"


def _runner(setting: Setting, out: Path) -> Runner:
    return Runner(setting, out, device="cpu", threads=1, telling=Telling(lambda _: None))


def _rows(runner: Runner) -> list[Row]:
    return chosen(["table2"], runner, SYSTEMS)


def test_weights_measurements_and_the_state_are_on_disk(finished: tuple[Setting, Path]) -> None:
    setting, out = finished
    results = read_results(out / "results.csv")
    expected = {
        "srcnn-x2",
        "srcnn-x2-published",
        "mesr",
        "mesr-x2-alone",
        "mesr-l1-more",
        "mesr-seed",
    }
    assert {row.model for row in results} == {"bicubic", *(f"smoke-{name}" for name in expected)}
    assert {row.scale for row in results if row.model == "smoke-mesr"} == {"2", "2.5"}
    trained = State(out, "smoke", setting.source.identity).trainings
    assert trained["smoke-mesr"].steps == BRIEF.steps
    assert trained["smoke-mesr"].samples_at < trained["smoke-srcnn-x2"].samples_at == BRIEF.steps


def _of_two_sites(tmp_path: Path) -> Setting:
    small = small_source(tmp_path / "scans")
    (scan,) = small.val.scans
    both = replace(scan, sites={"pelvis": [0, 0], "liver": [1, 9999]})
    return Setting(BRIEF, replace(small, val=replace(small.val, scans=[both])), "vgg19")


def test_a_row_with_sites_is_measured_at_those_alone(tmp_path: Path) -> None:
    runner = _runner(_of_two_sites(tmp_path), tmp_path / "out")
    row = untrained("table1", "there", "bicubic", sites=("liver",))
    assert runner.run([row])[row.id].status == "done"
    assert {one.site for one in read_results(tmp_path / "out" / "results.csv")} == {"liver"}


def test_what_no_table_shows_of_a_row_is_not_measured(tmp_path: Path) -> None:
    runner = _runner(_of_two_sites(tmp_path), tmp_path / "out")
    row = untrained("table2", "part", "bicubic", scales=("2", "2.5"), thorough=("pelvis",))
    assert runner.run([row])[row.id].status == "done"
    found = {(one.site, one.scale) for one in read_results(tmp_path / "out" / "results.csv")}
    assert found == {("pelvis", "2"), ("pelvis", "2.5"), ("liver", "2")}


def test_figures_need_no_control(tmp_path: Path) -> None:
    setting = Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19")
    rows = chosen(["native", "figures"], _runner(setting, tmp_path / "out"))
    assert "mesr" in {row.system for row in rows}
    assert not any(row.control for row in rows)


def test_a_second_call_does_nothing_again(
    finished: tuple[Setting, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, out = finished

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was done already")

    monkeypatch.setattr(networks, "train", refuse)
    monkeypatch.setattr(running.evaluate, "run", refuse)
    runner = _runner(setting, out)
    assert "failed" not in {fate.status for fate in runner.run(_rows(runner)).values()}


def test_other_scans_of_the_same_name_are_refused(finished: tuple[Setting, Path]) -> None:
    setting, out = finished
    (scan,) = setting.source.val.scans
    described = replace(setting.source.val, scans=[replace(scan, sites={"pelvis": [0, 0]})])
    other = setting._replace(source=replace(setting.source, val=described))
    with pytest.raises(InputError) as raised:
        _runner(other, out)
    assert raised.value.code == "other-plan"


def test_a_training_with_other_settings_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = _runner(Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19"), tmp_path / "out")
    (row,) = (row for row in chosen(["table2"], runner, ["srcnn"]) if row.group == "On equal terms")
    assert runner.run([row])[row.id].status == "done"
    (one,) = row.trainings
    before = runner.state.trainings[one.name].weights_id
    changed = replace(one, config=replace(one.config, optimiser=replace(one.config.optimiser, rate=1e-5)))
    told: list[str] = []
    again = Runner(runner.setting, tmp_path / "out", device="cpu", threads=1, telling=Telling(told.append))
    assert again.run([replace(row, trainings=(changed,))])[row.id].status == "done"
    assert again.state.trainings[one.name].weights_id != before
    assert any("set aside" in line for line in told)
    (aside,) = (tmp_path / "out" / "runs").glob(f"{one.name}-????????")
    assert (aside / f"{one.name}.safetensors").is_file()


def test_precision_is_no_part_of_what_a_training_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19")
    asked: list[str] = []
    real = networks.train

    def watched(config: Any, *rest: Any) -> Any:
        asked.append(config.precision)
        return real(config, *rest)

    monkeypatch.setattr(networks, "train", watched)
    runner = Runner(setting, tmp_path / "out", device="cpu", precision="bf16", threads=1)
    (row,) = (row for row in chosen(["table2"], runner, ["srcnn"]) if row.group == "On equal terms")
    assert runner.run([row])[row.id].status == "done"
    assert runner.state.trainings[row.trainings[0].name].computed == "bfloat16, cpu"
    assert {one.precision for one in read_results(tmp_path / "out" / "results.csv")} == {"bfloat16"}
    assert _runner(setting, tmp_path / "out").state.trained(row.trainings[0]) is not None
    assert asked == ["bf16"]


def test_a_row_that_fails_is_reported_and_stops_no_other(tmp_path: Path) -> None:
    setting = Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19")
    rows = [untrained("table2", "part", name) for name in ("no-such-method", "bicubic")]
    told: list[str] = []
    fates = Runner(setting, tmp_path / "out", telling=Telling(told.append)).run(rows)
    assert [fates[row.id].status for row in rows] == ["failed", "done"]
    assert fates[rows[0].id].code == "no-weights"
    assert any("no-weights" in line for line in told)


def test_without_a_vgg_nothing_is_trained_for_a_row_that_needs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.hub.download_url_to_file", _refused)
    monkeypatch.setattr(networks, "train", _refused)
    told: list[str] = []
    setting = Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19")
    runner = Runner(setting, tmp_path / "out", device="cpu", telling=Telling(told.append))
    rows = [row for row in chosen(["table2"], runner, ["srgan"]) if "2" in row.scales]
    fates = runner.run(rows)
    assert [fate.code for fate in fates.values()] == ["no-vgg", "no-vgg"]
    assert sum(line.startswith("Fetching VGG19's weights") for line in told) == 1


def _refused(*_: object, **__: object) -> None:
    raise OSError


def test_an_interrupted_call_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19")
    rows = [untrained("table2", "part", name) for name in ("bicubic", "sinc")]
    real = running.evaluate.run

    def stopped(models: list[str], *rest: Any, **named: Any) -> Any:
        if models == ["sinc"]:
            raise KeyboardInterrupt
        return real(models, *rest, **named)

    monkeypatch.setattr(running.evaluate, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        _runner(setting, tmp_path / "out").run(rows)
    held = State(tmp_path / "out", "smoke", setting.source.identity).rows
    assert [held[row.id].status for row in rows] == ["done", "planned"]
    monkeypatch.setattr(running.evaluate, "run", real)
    assert _runner(setting, tmp_path / "out").run(rows)[rows[1].id].status == "done"


def test_a_folder_of_another_budget_is_refused(finished: tuple[Setting, Path]) -> None:
    with pytest.raises(InputError, match="another budget"):
        State(finished[1], "gpu", "scans")


def test_the_page_of_a_smoke_run_says_that_it_is_one(finished: tuple[Setting, Path], tmp_path: Path) -> None:
    setting, out = finished
    page = tmp_path / "results.md"
    publish(["table2"], _runner(setting, out), page, drawing=False)
    text = page.read_text(encoding="utf-8")
    assert "smoke run" in text
    assert "| MESR (L1)" in text
    assert "1 slice of one patient" in text


def test_the_plots_are_drawn_beside_the_page_and_found_again(
    finished: tuple[Setting, Path], tmp_path: Path
) -> None:
    setting, out = finished
    runner = _runner(setting, out)
    publish(["table2", "figures"], runner, tmp_path / "results.md", drawing=True)
    publish(["table2"], runner, tmp_path / "results.md", drawing=False)
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "](results/psnr-parameters.png)" in text
    assert "](results/psnr-detail.png)" in text
    assert "## Distortion and perception" in text
    assert "](results/psnr-seconds.png)" in text
    assert (tmp_path / "results" / "pelvis-x2.webp").is_file()
    assert (tmp_path / "results" / "pelvis-scales.webp").is_file()


def test_results_without_networks_make_the_page_and_keep_what_needed_them(
    finished: tuple[Setting, Path], tmp_path: Path
) -> None:
    setting, out = finished
    page = tmp_path / "results.md"
    publish(["figures"], _runner(setting, out), page, drawing=True)
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("plan.json", "results.csv", "perception.csv", "seconds.csv"):
        shutil.copy(out / name, alone / name)
    runner = _runner(setting, alone)
    assert {fate.status for fate in runner.run(_rows(runner)).values()} == {"done"}
    assert not (alone / "runs").exists()
    publish(["table2", "figures"], runner, page, drawing=True)
    text = page.read_text(encoding="utf-8")
    assert "| MESR (L1)" in text
    for picture in ("psnr-samples.png", "psnr-detail.png", "psnr-seconds.png", "pelvis-scales.webp"):
        assert f"](results/{picture})" in text
    for name in ("perception.csv", "seconds.csv"):
        assert {one.method for one in findings.read(out / name)} == {
            one.method for one in findings.read(alone / name)
        }


def test_figures_of_test_scans_are_looks_at_them(finished: tuple[Setting, Path], tmp_path: Path) -> None:
    setting, out = finished
    source = replace(
        setting.source, test=replace(setting.source.test, split="test", looks=str(tmp_path / "looks.csv"))
    )
    looking = setting._replace(budget=replace(setting.budget, split="test"), source=source)
    publish(["native"], _runner(looking, out), tmp_path / "results.md", drawing=True)
    assert "mesr reproduce --budget smoke: native\n" in (tmp_path / "looks.csv").read_text()


@pytest.fixture
def _committed() -> Iterator[None]:
    """The identity of the code as it is, before and after."""
    results.code_identity.cache_clear()
    yield
    results.code_identity.cache_clear()


@pytest.mark.usefixtures("_committed")
def test_a_row_is_one_measurement_though_someone_commits_meanwhile(
    finished: tuple[Setting, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row with thorough sites is measured in two calls."""
    setting, _ = finished
    names = iter(f"{n:012d}" for n in range(99))
    monkeypatch.setattr(results, "_git", lambda _, command, *rest: "" if command == "status" else next(names))
    row = replace(untrained("table2", "part", "bicubic", scales=("2", "2.5")), thorough=("pelvis",))
    runner = _runner(setting, tmp_path / "out")
    runner.run([row])
    found = Measured(tmp_path / "out", runner.state).of(row)
    assert {one.scale for one in found} == {"2", "2.5"}


def test_an_experiment_that_the_scans_cannot_have_is_said_to_be_so(
    finished: tuple[Setting, Path], tmp_path: Path
) -> None:
    setting, _ = finished
    bare = setting._replace(source=replace(setting.source, elsewhere=("liver",)))
    with pytest.raises(UsageError, match="No scan of liver is measured"):
        chosen(["table3"], _runner(bare, tmp_path / "out"))
    publish(["table2"], _runner(bare, tmp_path / "out"), tmp_path / "results.md", drawing=False)
    assert "* No scan of liver is measured: Table 3 is left out." in (tmp_path / "results.md").read_text(
        encoding="utf-8"
    )


def test_two_calls_do_not_run_into_one_folder(finished: tuple[Setting, Path], tmp_path: Path) -> None:
    setting, _ = finished
    rows = [untrained("table2", "part", name) for name in ("bicubic", "sinc")]
    one, other = (_runner(setting, tmp_path / "out") for _ in "ab")
    with one.state.alone(), pytest.raises(UsageError, match="Another call") as refused:
        other.run(rows)
    assert refused.value.code == "in-use"
    one.run(rows[:1])
    other.run(rows[1:])
    held = State(tmp_path / "out", "smoke", setting.source.identity).rows
    assert {fate.status for fate in held.values()} == {"done"}
    assert len(held) == 2


def test_tables_are_written_though_a_figure_cannot_be_drawn(
    finished: tuple[Setting, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*_: Any, **__: Any) -> None:
        raise OutputError("unwritable", "no room")

    monkeypatch.setattr(figures, "draw", draw)
    setting, out = finished
    with pytest.raises(OutputError):
        reproduce(["figures"], _runner(setting, out), tmp_path / "results.md", ["mesr"])
    assert "| MESR (L1)" in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_a_simulated_set_of_another_scan_is_made_anew(finished: tuple[Setting, Path], tmp_path: Path) -> None:
    setting, _ = finished
    runner = _runner(setting, tmp_path / "out")
    (row, *_) = (one for one in plan(["table1"], setting) if one.trainings and one.trainings[0].simulated)
    # The paper's site is of what is measured, not of what is learned from.
    runner.networks.setting = setting._replace(source=replace(setting.source, pelvis=("liver",)))
    told: list[str] = []
    config, runner.networks.telling = row.trainings[0].config, Telling(told.append)
    everywhere = replace(config, sampling=replace(config.sampling, series=[]))
    coarse, finer = "cbct:views=12:element_mm=4", "cbct:views=16:element_mm=4"
    for scan, asked, times in (
        (coarse, config, 1),
        (finer, config, 2),
        (finer, everywhere, 3),
        (finer, everywhere, 3),
    ):
        folder = runner.networks.training_set(replace(row.trainings[0], simulated=scan, config=asked))
        sampling = asked.sampling
        assert is_simulated(
            folder, scan, sites=sampling.sites, series=sampling.series, count=SIMULATED_SLICES
        )
        assert told.count("Simulating cone-beam scans of the training set.") == times


def test_progress_is_the_mean_over_sites_at_each_validation(tmp_path: Path) -> None:
    lines = [
        "step,quantity,value",
        "2,psnr a ×2,30",
        "2,psnr b ×2,40",
        "2,loss,1",
        "4,psnr a ×2,31",
        "4,psnr b ×2,43",
    ]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert progress(tmp_path / "log.csv") == [(2, 35.0), (4, 37.0)]


def test_the_critic_s_slope_is_that_of_its_late_lessons(tmp_path: Path) -> None:
    lines = [
        "step,quantity,value",
        *(f"{n},critic gradient norm,{value}" for n, value in enumerate((9, 9, 1.0, 1.1))),
    ]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    assert slope(tmp_path / "log.csv") == pytest.approx(1.05)
    (tmp_path / "log.csv").write_text("step,quantity,value\n1,loss,0.5\n")
    assert slope(tmp_path / "log.csv") == 0


def test_a_row_whose_measurements_were_lost_is_measured_again(
    finished: tuple[Setting, Path], tmp_path: Path
) -> None:
    setting, held = finished
    shutil.copytree(held, tmp_path / "out")
    file, rows = tmp_path / "out" / "results.csv", _rows(_runner(setting, held))
    whole = file.read_text()
    row = next(one for one in rows if one.method == "bicubic")
    kept = [line for line in whole.splitlines(keepends=True) if line.split(",")[1] != "bicubic"]
    file.write_text("".join(kept))
    assert not Measured(tmp_path / "out", State(tmp_path / "out", "smoke", setting.source.identity)).of(row)
    told: list[str] = []
    again = Runner(setting, tmp_path / "out", device="cpu", threads=1, telling=Telling(told.append))
    again.run(rows)
    assert any(row.id in line for line in told)
    assert not any("srcnn" in line for line in told), "what is whole is not measured again"
    assert len(read_results(file)) == len(whole.splitlines()) - 1


def test_a_row_whose_measurements_another_has_needs_no_network(
    finished: tuple[Setting, Path], tmp_path: Path
) -> None:
    setting, held = finished
    shutil.copytree(held, tmp_path / "out", ignore=shutil.ignore_patterns("runs"))
    runner = _runner(setting, tmp_path / "out")
    rows = _rows(runner)
    known = next(one for one in rows if one.method == "smoke-mesr")
    narrower = replace(known, id="ablations/elsewhere/mesr", scales=("2",))
    fates = runner.run([*rows, narrower])
    assert not (tmp_path / "out" / "runs").exists()
    assert fates[narrower.id].status == "done"
    assert fates[narrower.id].weights_id == fates[known.id].weights_id
    found = Measured(tmp_path / "out", runner.state).of(narrower)
    assert {one.scale for one in found} == {"2"}
    assert fates[narrower.id].measurements == len(found) > 0


def test_what_is_measured_for_another_row_is_told_by_scales_sites_and_recipe() -> None:
    wide = untrained("table2", "a", "sinc", scales=("2", "3"), thorough=("pelvis", "liver"))
    assert untrained("ablations", "b", "sinc", scales=("2", "3"), thorough=("pelvis",)).within(wide)
    assert untrained("ablations", "b", "sinc", scales=("3",), sites=("pelvis",)).within(wide)
    assert untrained("ablations", "b", "sinc", sites=("head",)).within(wide), "every site is measured at ×2"
    assert not untrained("ablations", "b", "sinc", scales=("3",), sites=("head",)).within(wide)
    assert not untrained("ablations", "b", "sinc", scales=("3",)).within(wide)
    assert not untrained("ablations", "b", "sinc", scales=("4",), sites=("pelvis",)).within(wide)
    assert not untrained("ablations", "b", "sinc", degradation="noise").within(wide)
    assert not untrained("ablations", "b", "bicubic").within(wide)
    assert not wide.within(untrained("ablations", "b", "sinc", scales=("2", "3"), sites=("pelvis", "liver")))


def test_rows_of_a_network_trained_anew_are_measured_anew(
    finished: tuple[Setting, Path], tmp_path: Path
) -> None:
    setting, held = finished
    shutil.copytree(held, tmp_path / "out")
    runner = _runner(setting, tmp_path / "out")
    rows = _rows(runner)
    row = next(one for one in rows if one.method == "smoke-srcnn-x2")
    shutil.rmtree(runner.networks.folder(row.trainings[0]))
    before = len(read_results(tmp_path / "out" / "results.csv"))
    other = replace(row.trainings[0].config.sampling, seed=7)
    another = replace(row.trainings[0], config=replace(row.trainings[0].config, sampling=other))
    fresh = _runner(setting, tmp_path / "fresh")
    fresh.run([replace(row, trainings=(another,))])
    runner.networks.adopt(row.trainings[0], fresh.networks.folder(another), "elsewhere")
    narrower = replace(row, id="ablations/elsewhere/srcnn")
    whole = runner.state.known(row).weights_id
    fates = runner.run([one for one in rows if one is not row] + [narrower])
    assert fates[narrower.id].weights_id != whole, (
        "it took the older figures first, and is measured anew as well"
    )
    fates |= runner.run(rows)
    assert fates[row.id].weights_id == fates[narrower.id].weights_id
    assert (
        fates[row.id].weights_id
        == State(fresh.out, "smoke", setting.source.identity).trainings[another.name].weights_id
    )
    assert len(read_results(tmp_path / "out" / "results.csv")) == before + fates[row.id].measurements


@pytest.mark.parametrize(
    "text",
    [
        '{"format": 3, "rows": [], "trainings": {}}',
        '{"format": 3, "rows": {}, "trainings": {}}',
        '{"format": 3, "budget": "smoke", "data": "x", "rows": {"a": {"status": "banana"}}, "trainings": {}}',
        '{"format": 3, "budget": "smoke", "data": "x", "rows": {}, "trainings": {"a": {"fingerprint": "", "weights_id": "",'
        ' "steps": 1, "samples": 1, "samples_at": 1, "minutes": 1, "course": []}}}',
    ],
)
def test_a_damaged_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InputError) as refused:
        State(tmp_path, "smoke", "x")
    assert refused.value.code == "plan-format"
    assert vgg_of(tmp_path) == ""


def test_a_folder_tells_the_vgg_of_its_trainings(tmp_path: Path) -> None:
    """Else its rows of the perceptual loss would be gone from the page where the cache has none or another."""
    assert vgg_of(tmp_path) == ""
    state = State(tmp_path, "smoke", "x")
    state.save()
    assert vgg_of(tmp_path) == ""
    state.vgg = "vgg16"
    state.save()
    assert vgg_of(tmp_path) == "vgg16"
    again = State(tmp_path, "smoke", "x")
    again.save()
    assert vgg_of(tmp_path) == "vgg16"
