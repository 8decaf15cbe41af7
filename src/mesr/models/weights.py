"""Weights files: safetensors that describe themselves, checked before anything is allocated.

One JSON text under the key `mesr` in the header says the format, the architecture's spec, what it was
trained on and for, the licences and the budget. The weights id is the sha256 of tensors and spec, so a
renamed file keeps its identity and a retrained network gets a new one. No pickle is ever read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import MesrError, UsageError, WeightsError
from ..tensors import write_tensors
from .contract import SuperResolver
from .ensemble import SelfEnsemble
from .registry import architectures, blueprint, build

FORMAT = 1
KEY = "mesr"
MAX_ARGUMENT = 4096
"""The largest size a spec may name; building ever so many layers would itself be an attack."""
INVENTING = ("perceptual", "vgg_l2", "vgg_raw_l2", "vgg_raw_l1", "adversarial")
"""Losses that give PSNR up for detail that may not be true; a test holds them to be all that look so."""

ENSEMBLE = "+"
ALIASES = {"mesr": "mesr-3", "mesr-lite": "mesr-lite-3"}
"""The best of their sizes today, by short names."""


@dataclass(frozen=True)
class Card:
    """What a weights file says of itself.

    Attributes:
        name: immutable name, `"mesr-lite-3"`; for an interpolator its architecture's name.
        spec: `{"name": architecture, "args": {…}}`.
        weights_id: sha256 hex of tensors and spec.
        about: all else in the header: `intensity`, `training` (ranges, degradation, budget), `data` with
            licences, `scores`.
    """

    name: str
    spec: dict[str, Any]
    weights_id: str
    about: dict[str, Any]

    @property
    def modalities(self) -> list[str]:
        """What it was trained on; empty for interpolators, which take anything."""
        return list(self.about.get("training", {}).get("modalities", []))

    @property
    def perceptual(self) -> bool:
        """Whether a perceptual or adversarial term trained it or what it started from: its texture may be invented."""
        training = self.about.get("training") or {}
        losses, start = training.get("losses") or {}, training.get("start")
        inherited = isinstance(start, Mapping) and bool(
            start.get("perceptual")
        )  # Older files have a path there.
        return inherited or any(losses.get(term) for term in INVENTING)


def save(
    path: Path, name: str, spec: Mapping[str, Any], tensors: Mapping[str, Tensor], about: Mapping[str, Any], *,
    half: bool = False, force: bool = False,
) -> str:  # fmt: skip
    """Write a weights file and give its id.

    Args:
        half: store float16; it is read back as float32.
    """
    stored = {}
    for key, value in tensors.items():
        # A count, such as batch norm's of batches, is kept whole.
        kind = value.dtype if not value.is_floating_point() else torch.float16 if half else torch.float32
        stored[key] = value.detach().to("cpu", kind).contiguous()
    header = {"format": FORMAT, "name": name, "spec": dict(spec), **about}
    write_tensors(path, stored, {KEY: json.dumps(header, sort_keys=True)}, force=force)
    return identify(stored, spec)


def identify(tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> str:
    """sha256 (hex) over the sorted tensors, as stored, and the spec."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode())
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"{key}|{tuple(value.shape)}|{value.dtype}".encode())
        digest.update(value.numpy().tobytes())  # In row-major order, whatever the tensor's own.
    return digest.hexdigest()


def shipped() -> list[str]:
    """The names of the weights inside this package."""
    folder = resources.files("mesr") / "weights"
    return sorted(
        item.name.removesuffix(".safetensors")
        for item in folder.iterdir()
        if item.name.endswith(".safetensors")
    )


def load(name: str | Path) -> tuple[SuperResolver, Card]:
    """A model ready to use (float32, evaluation mode) and its card.

    Args:
        name: shipped weights (`"mesr-lite-3"`), an alias (`"mesr-lite"`), an interpolator (`"bicubic"`) or the
            path of a weights file. With a `+` behind it the network is asked in eight orientations
            (`SelfEnsemble`); name and weights id end in `+` then.

    Raises:
        WeightsError: there is none, or the file is damaged, of another format, or does not fit its spec.
    """
    text = str(name)
    if text.endswith(ENSEMBLE) and not text.endswith(2 * ENSEMBLE):
        network, card = load(text.removesuffix(ENSEMBLE))
        changed = replace(card, name=card.name + ENSEMBLE, weights_id=card.weights_id + ENSEMBLE)
        return SelfEnsemble(network).eval(), changed
    text = ALIASES.get(text, text)
    if text in shipped():
        with resources.as_file(resources.files("mesr") / "weights" / f"{text}.safetensors") as path:
            return _load_file(path)
    if text.endswith(".safetensors"):
        return _load_file(Path(text))
    if text in architectures():
        model = build({"name": text})
        if model.parameter_count == 0:
            spec = {"name": text, "args": {}}
            return model.eval(), Card(text, spec, identify({}, spec), {})
    known = ", ".join([*shipped(), *(n for n in ALIASES if ALIASES[n] in shipped()), *untrained()])
    raise WeightsError(
        "no-weights",
        f"No weights are called {text[:60]!r}.",
        f"Known are: {known}; or give a .safetensors file.",
    )


def untrained() -> list[str]:
    """The interpolators: architectures without a parameter."""
    return [name for name in architectures() if blueprint({"name": name}).parameter_count == 0]


def load_each(models: Sequence[str | Path]) -> list[tuple[SuperResolver, Card]]:
    """Each as `load`, without those whose weights came before under another name: their slices would count twice."""
    first: dict[str, tuple[SuperResolver, Card]] = {}
    for model, card in map(load, models):
        first.setdefault(card.weights_id, (model, card))
    return list(first.values())


def read_card(path: Path) -> Card:
    """The card of a weights file, without building its model.

    Raises:
        WeightsError: as `load`.
    """
    return _open(path)[0]


def _open(path: Path) -> tuple[Card, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "null"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise WeightsError(
                    "weights-format", f"The file is no mesr weights file of format {FORMAT}.", path=path
                )
            spec = header.get("spec")
            if (
                not isinstance(spec, dict)
                or not isinstance(spec.get("args", {}), dict)
                or not isinstance(header.get("name"), str)
            ):
                raise WeightsError(
                    "weights-format", "The weights file does not name its architecture.", path=path
                )
            _check_shapes(spec, {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}, path)  # noqa: SIM118
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        raise WeightsError(
            "weights-unreadable", "The weights file is missing or damaged.", path=path
        ) from None
    about = {key: value for key, value in header.items() if key not in ("format", "name", "spec")}
    return Card(header["name"], spec, identify(tensors, spec), about), tensors


def _check_shapes(spec: Mapping[str, Any], found: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Compare with the architecture on the `meta` device: nothing is allocated for a file that lies."""
    if any(size > MAX_ARGUMENT for size in _sizes(spec.get("args") or {})):
        raise WeightsError(
            "weights-spec", f"The weights file's spec has a size above {MAX_ARGUMENT}.", path=path
        )
    try:
        expected = {key: tuple(value.shape) for key, value in blueprint(spec).state_dict().items()}
    except UsageError as error:
        raise WeightsError(
            "weights-spec", f"The weights file's spec makes no model: {error.sentence}", error.fix, path
        ) from None
    except MesrError:
        raise
    except Exception as error:
        raise WeightsError("weights-spec", "The weights file's spec makes no model.", path=path) from error
    if expected != dict(found):
        wrong = sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key))
        raise WeightsError(
            "weights-shapes",
            f"The tensors do not fit the architecture {spec.get('name')}: {', '.join(wrong[:3])[:120]} …",
            path=path,
        )


def _sizes(args: Any) -> Iterator[float]:
    """The numbers among a spec's arguments, and the layers that its depths multiply to; then of the network inside it."""
    while isinstance(args, Mapping):
        numbers = {key: abs(value) for key, value in args.items() if isinstance(value, int | float)}
        yield from numbers.values()
        yield numbers.get("blocks", 1) * numbers.get("layers", 1)
        args = args.get("args")


def _load_file(path: Path) -> tuple[SuperResolver, Card]:
    card, tensors = _open(path)
    model = build(card.spec)
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False), card
