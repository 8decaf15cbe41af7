"""The fast convolution against PyTorch's in float64: values, gradients, edges, and when it is chosen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mesr.kernels import winograd
from mesr.kernels.convolution import conv3x3
from mesr.kernels.library import _library, library

needs_library = pytest.mark.skipif(library() is None, reason="no compiler for the fast convolution")
SHAPES = [(1, 16, 16, 1, 1), (2, 64, 64, 13, 17), (1, 32, 80, 48, 48), (3, 16, 48, 5, 4), (1, 64, 64, 4, 97)]


def _values(*shape: int, seed: int = 0) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values


def _direct(x: Tensor, weight: Tensor, add: Tensor | None = None, relu: bool = False) -> Tensor:
    y = F.conv2d(x, weight, padding=1)
    return y.relu() if relu else y if add is None else y + add


@needs_library
@pytest.mark.parametrize(("images", "channels", "out", "height", "width"), SHAPES)
@pytest.mark.parametrize("after", ["nothing", "relu", "sum"])
def test_values_and_gradients_are_those_of_the_direct_form(
    images: int, channels: int, out: int, height: int, width: int, after: str
) -> None:
    x = _values(images, channels, height, width).requires_grad_()
    weight = (_values(out, channels, 3, 3, seed=1) / (3 * channels**0.5)).requires_grad_()
    add = _values(images, out, height, width, seed=2).requires_grad_() if after == "sum" else None
    given = [one for one in (x, weight, add) if one is not None]
    exact = [one.detach().double().requires_grad_() for one in given]

    y = winograd.convolve(x, weight, add, after == "relu")
    expected = _direct(exact[0], exact[1], exact[2] if add is not None else None, after == "relu")
    pull = _values(images, out, height, width, seed=3)
    gradients = torch.autograd.grad(y, given, pull)
    wanted = torch.autograd.grad(expected, exact, pull.double())

    for found, true in zip((y, *gradients), (expected, *wanted), strict=True):
        assert (found.double() - true).abs().max() <= 2e-5 * true.abs().max()


@pytest.mark.parametrize("relu", [False, True])
def test_a_bias_is_added_before_the_relu(relu: bool) -> None:
    x, weight, bias = _values(2, 16, 9, 8), _values(32, 16, 3, 3, seed=1), _values(32, seed=2) * 10
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    found = conv3x3(x, weight, bias, relu=relu)
    torch.testing.assert_close(found.double(), expected.relu() if relu else expected, atol=1e-3, rtol=0)


@needs_library
def test_a_result_does_not_depend_on_the_number_of_threads() -> None:
    x, weight = _values(2, 32, 21, 19), _values(32, 32, 3, 3, seed=1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = winograd.convolve(x, weight)
        torch.set_num_threads(2)
        assert torch.equal(winograd.convolve(x, weight), one)
    finally:
        torch.set_num_threads(before)


@needs_library
def test_any_memory_layout_gives_the_same_values() -> None:
    x, weight = _values(2, 16, 9, 11), _values(16, 16, 3, 3, seed=1)
    expected = winograd.convolve(x, weight)
    assert torch.equal(winograd.convolve(x.contiguous(), weight.contiguous()), expected)
    assert torch.equal(winograd.convolve(x[:, :, :, :].transpose(2, 3).transpose(2, 3), weight), expected)


@needs_library
def test_it_is_chosen_only_where_it_is_right() -> None:
    x, weight = _values(1, 16, 8, 8), _values(16, 16, 3, 3)
    assert winograd.suits(x, weight)
    assert not winograd.suits(x.double(), weight.double())
    assert not winograd.suits(_values(1, 3, 8, 8), _values(16, 3, 3, 3))
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.suits(x, weight)


def test_without_a_library_the_direct_form_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "library", lambda: None)
    x, weight, add = _values(1, 16, 8, 8), _values(16, 16, 3, 3, seed=1), _values(1, 16, 8, 8, seed=2)
    assert torch.equal(conv3x3(x, weight, relu=True), _direct(x, weight, relu=True))
    assert torch.equal(conv3x3(x, weight, add=add), _direct(x, weight, add))


@pytest.mark.parametrize(
    ("setting", "value"), [("MESR_KERNELS", "off"), ("PATH", "/nowhere"), ("XDG_CACHE_HOME", "/proc")]
)
def test_switched_off_or_without_compiler_or_cache_there_is_no_library(setting: str, value: str) -> None:
    code = "from mesr.kernels.library import library; print(library())"
    environment = os.environ | {setting: value}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "None"


def test_a_user_without_a_home_has_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    _library.cache_clear()
    try:
        assert library() is None
    finally:
        _library.cache_clear()


@needs_library
def test_a_thread_that_ends_leaves_nothing_behind() -> None:
    """Each study is computed in a thread of its own, with OpenMP threads of its own."""
    code = (
        "import resource, threading, torch\nfrom mesr.kernels.convolution import conv3x3\n"
        "x, weight = torch.rand(1, 256, 12, 12), torch.rand(256, 256, 3, 3)\n"
        "def work():\n"
        "    with torch.inference_mode():\n        conv3x3(x, weight)\n"
        "def several(count):\n"
        "    for _ in range(count):\n"
        "        one = threading.Thread(target=work)\n        one.start()\n        one.join()\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = several(20)\nprint(several(150) - before)"
    )
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    assert int(done.stdout) < 64 << 10  # KiB; a megabyte a thread otherwise.


@needs_library
def test_building_ahead_builds_once_and_waits_for_no_one(tmp_path: Path) -> None:
    """Whoever needs the kernels meanwhile waits for that build and starts none of their own; PyTorch is not imported."""
    code = (
        "import sys, time; from mesr.kernels import library as made; began = time.perf_counter(); made.build_ahead(); "
        "asked = time.perf_counter() - began; found = made.library(); "
        "print(asked < 0.5, found is made.library(), 'torch' in sys.modules)"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["True", "True", "False"]
    assert len(list(tmp_path.glob("mesr/*"))) == 1


@needs_library
def test_a_cache_that_others_can_write_to_is_not_trusted(tmp_path: object) -> None:
    code = (
        "import os, pathlib, sys; folder = pathlib.Path(sys.argv[1]) / 'mesr'; folder.mkdir(); "
        "folder.chmod(0o777); from mesr.kernels.library import library; print(library())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "None"
