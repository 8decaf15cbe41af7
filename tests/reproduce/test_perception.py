"""Distortion against perception, and time, told of methods that are there without training."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_source import small_source

from mesr.reproduce import perception, timing
from mesr.reproduce.comparison import perception as table
from mesr.testset import EvaluationSpec


@pytest.fixture(name="spec", scope="module")
def _spec(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSpec:
    return small_source(tmp_path_factory.mktemp("scans")).val


def test_a_smoother_method_shows_less_detail(spec: EvaluationSpec) -> None:
    found = perception.findings(spec, ["pelvis"], [("smooth", "sinc"), ("blocks", "nearest")])
    detail = {(one.method, one.scan): one.value for one in found if one.measure == perception.DETAIL}
    sites = {scan for _, scan in detail}
    assert sites
    for site in sites:
        assert detail["smooth", site] < detail["blocks", site]
    assert perception.findings(spec, ["elsewhere"], [("smooth", "sinc")]) == []
    text = table(found)
    assert text.count("\n| ") == 3
    assert f"{detail['smooth', next(iter(sites))]:.2f}" in text


def test_a_scan_under_each_kernel_is_shrunk_and_restored(tmp_path: Path) -> None:
    source = small_source(tmp_path)
    methods = [("smooth", "sinc"), ("blocks", "nearest")]
    assert perception.under_kernels(source, methods) == []
    found = perception.under_kernels(replace(source, kernels=(tmp_path / "val", tmp_path / "test")), methods)
    assert {one.scan for one in found} == {"val, pelvis"}
    psnr = {one.method: one.value for one in found if one.measure == perception.PSNR}
    assert psnr["smooth"] > psnr["blocks"]
    assert f"{psnr['smooth']:.2f}" in table(found)


def test_what_changed_is_drawn_for_every_site(spec: EvaluationSpec, tmp_path: Path) -> None:
    drawn = dict(perception.invented(spec, ("before", "bicubic"), ("after", "sinc"), tmp_path))
    assert drawn
    assert all(path.stat().st_size > 10_000 for path in drawn.values())


def test_every_method_is_timed() -> None:
    deep = {"name": "mesr", "args": {"blocks": 16}}
    found = timing.findings(
        [("nearest", {"name": "nearest"}), ("shallow", deep | {"args": {"blocks": 1}}), ("deep", deep)]
    )
    seconds = {one.method: one.value for one in found}
    assert 0 < seconds["nearest"] < seconds["shallow"] < seconds["deep"]
    assert len({one.weights_id for one in found}) == 3
    assert {one.measure for one in found} == {timing.SECONDS}
    assert {one.scan for one in found} == {timing.machine(torch.device("cpu"))}


def test_a_time_says_on_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(timing, "CPUS", tmp_path / "cpuinfo")
    assert timing.machine(torch.device("cpu")) == f"{platform.machine()}, 2 threads"
    timing.CPUS.write_text("processor\t: 0\nmodel name\t: Some CPU\nmodel name\t: Some CPU\n")
    assert timing.machine(torch.device("cpu")) == "Some CPU, 2 threads"
