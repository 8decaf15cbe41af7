"""Put trained weights into the package, in half precision, with their model card.

    python scripts/ship.py ~/runs/x/x.safetensors --name mesr-lite-3 --notes notes.md
    python scripts/ship.py src/mesr/weights/mesr-lite-3.safetensors --results results.csv --notes notes.md

The first call stores half precision and says what that costs on the training set's validation slices
(`--set`). The second, once they are measured, adds the scores to the header and rewrites the card. The
weights id, which covers tensors and spec alone, stays. The points under "Known failures" of the notes go into the
header as well, so that `mesr models NAME` says them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from mesr import tables
from mesr.data import load_slices, reference_pair
from mesr.metrics import psnr
from mesr.models import weights
from mesr.models.contract import SuperResolver
from mesr.results import Row, read_results

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "mesr" / "weights"


def half_costs(path: Path, root: Path) -> float:
    """The largest loss of PSNR, dB, by half precision over the validation slices at ×2 and ×4."""
    full, _ = weights.load(path)
    half, _ = weights.load(path)
    half.load_state_dict({key: value.half().float() for key, value in half.state_dict().items()})
    return max(_mean(full, root, scale) - _mean(half, root, scale) for scale in (2, 4))


def _mean(model: SuperResolver, root: Path, scale: int) -> float:
    found = []
    for one in load_slices(root, "val", ["CT"])[::8]:
        hr = torch.from_numpy(one.patch(slice(None), slice(None)).copy())[None, None]
        pair = reference_pair(hr, Fraction(scale))
        with torch.inference_mode():
            found.append(psnr(model.whole(pair.lr, pair.grid)[0, 0].numpy(), pair.hr[0, 0].numpy(), scale))
    return sum(found) / len(found)


def scores(rows: list[Row], name: str) -> dict[str, Any]:
    """Mean PSNR in dB and gain over the windowed sinc by site and scale, for the header."""
    means = tables.summary(rows)
    found: dict[str, Any] = {}
    for (site, scale, model), mean in means.items():
        if model == name:
            gain = mean.mean - means[site, scale, "sinc"].mean
            cell = {"psnr_db": round(mean.mean, 2), "gain_over_sinc_db": round(gain, 2)}
            found.setdefault(site, {})[scale] = cell
    return found


def averaging(spec: Mapping[str, Any], orientations: int) -> dict[str, Any]:
    """The spec of the same network that averages over so many orientations; trained in one, it needs no others."""
    return {**spec, "args": {**spec.get("args", {}), "orientations": orientations}}


def known_failures(notes: str) -> list[str]:
    """The points of a list under the heading "Known failures", each on one line."""
    section = re.search(
        r"^#+ Known failures\s*$(.*?)(?=^#|\Z)", notes, re.MULTILINE | re.DOTALL | re.IGNORECASE
    )
    points = re.split(r"^[*-] ", section[1], flags=re.MULTILINE)[1:] if section else []
    # What follows a blank line is no longer of the point.
    return [" ".join(re.split(r"\n\s*\n", point)[0].split()) for point in points]


def card(name: str, card_: weights.Card, notes: str, rows: list[Row]) -> str:
    """The model card as Markdown."""
    training: Mapping[str, Any] = card_.about["training"]
    lines = [
        f"# {name}",
        "",
        f"Architecture `{card_.spec['name']}` with {card_.spec.get('args')}. Weights id `{card_.weights_id}`.",
        "",
        "**Research use only, not for diagnosis.**",
        "",
        "## Training",
        "",
        *(f"* {key}: {value}" for key, value in training.items()),
        f"* intensity: {card_.about['intensity']}",
        "",
        "## Data",
        "",
        tables.markdown(
            ("scan", "modality", "slices", "licence", "source"),
            [
                (d["id"], d["modality"], str(d["slices"]), d["licence"], d["source"])
                for d in card_.about["data"]
            ],
        ),
        "",
        notes.strip(),
        "",
    ]
    if rows:
        lines += [
            "## Scores",
            "",
            "PSNR gain over the windowed sinc, dB, its 95 % interval, and the PSNR.",
            "",
        ]
        lines += [tables.gain_table(rows, name), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--notes", type=Path, required=True, help="Markdown: ranges, known failures")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--set", type=Path, help="training set, to measure what half precision costs")
    parser.add_argument(
        "--orientations",
        type=int,
        choices=(1, 2, 4, 8),
        help="of the image that the shipped network averages over",
    )
    arguments = parser.parse_args()
    found = weights.read_card(arguments.weights)
    name = arguments.name or found.name
    about = dict(found.about)
    if arguments.set:
        cost = half_costs(arguments.weights, arguments.set)
        about["half_precision_costs_db"] = round(cost, 4)
        print(f"half precision costs at most {cost:.4f} dB")
    notes = arguments.notes.read_text(encoding="utf-8")
    about.pop("known_failures", None)
    if failures := known_failures(notes):
        about["known_failures"] = failures
    rows = read_results(arguments.results) if arguments.results else []
    if rows:
        about["scores"] = scores(rows, name)
    target = PACKAGE / f"{name}.safetensors"
    tensors = load_file(arguments.weights)
    spec = averaging(found.spec, arguments.orientations) if arguments.orientations else found.spec
    weights.save(target, name, spec, tensors, about, half=True, force=True)
    text = card(name, weights.read_card(target), notes, rows)
    (PACKAGE / f"{name}.md").write_text(text, encoding="utf-8")
    print(
        f"{target.name}: {target.stat().st_size / 1e6:.2f} MB, id {weights.read_card(target).weights_id[:12]}"
    )


if __name__ == "__main__":
    main()
