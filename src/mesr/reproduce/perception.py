"""Distortion against perception: how far a result is from the truth, and whether it shows as much detail as real scans.

A critic asks for detail, L1 for the truth; what the one gives and the other takes are the two axes of a figure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from .. import picture
from ..evaluate import Model
from ..files import safe_name
from ..gallery import middles, restored, shrunk
from ..inference import Options
from ..metrics import fine_detail, psnr
from ..models import weights
from ..testset import EvaluationSpec, subjects
from .findings import Finding, Method
from .sources import Source, limited, sites_of

SCALE = Fraction(2)
SLICES = 4
"""Of every site, from its middle."""

PSNR, DETAIL = "PSNR, dB", "fine detail, dB"


def findings(
    spec: EvaluationSpec,
    sites: Collection[str],
    methods: Sequence[Method],
    options: Options = Options(),  # noqa: B008
) -> list[Finding]:
    """PSNR and fine detail (`metrics.fine_detail`) of every method at ×2, means over the middle slices of each of the sites.

    Raises:
        InputError: a scan cannot be read.
    """
    loaded = [(title, weights.load(name)) for title, name in methods]
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for one in subjects(limited(spec, SLICES)):
        if one.site not in sites:
            continue
        pair = shrunk(one, (SCALE, SCALE))
        for title, model in loaded:
            (image,) = restored([model], pair, one.window, options).values()
            result, card = one.window.forward(image), model[1]
            for measure, value in (
                (PSNR, psnr(result, pair.hr, pair.border)),
                (DETAIL, fine_detail(result, pair.hr, float(SCALE), pair.border)),
            ):
                found.setdefault((one.site, title, card.weights_id, measure), []).append(value)
    return [
        Finding(*about, float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan, len(values))
        for about, values in found.items()
    ]  # fmt: skip


def under_kernels(
    source: Source,
    methods: Sequence[Method],
    options: Options = Options(),  # noqa: B008
) -> list[Finding]:
    """The same of one scan under each of its kernels (`Source.kernels`), which are scans to validate on.

    Raises:
        InputError: a scan cannot be read.
    """
    found: list[Finding] = []
    for place in source.kernels:
        scans = [scan for scan in source.val.scans if Path(source.val.root, scan.path) == place]
        sites = {site for scan in scans for site in sites_of(scan)}
        told = findings(replace(source.val, scans=scans), sites, methods, options)
        found += [replace(one, scan=f"{place.name}, {one.scan}") for one in told]
    return found


def invented(
    spec: EvaluationSpec,
    plain: Method,
    perceptual: Method,
    folder: Path,
    options: Options = Options(),  # noqa: B008
    *,
    told: str = "what the adversarial and perceptual terms changed, and where that leads away from the truth",
    name: str = "invented",
    finish: picture.Finish = picture.Finish(),  # noqa: B008
) -> Iterator[tuple[str, Path]]:
    """Draw, for the middle slice of every site, what a loss changed and where that leads away from the truth; yields site and picture.

    Args:
        plain, perceptual: the network without and with it.
        told: what is seen, in words.
        name: ends the pictures' names.
        finish: of the pictures.

    Raises:
        InputError: a scan cannot be read.
    """
    models: list[Model] = [weights.load(name) for _, name in (plain, perceptual)]
    for one, pair in middles(spec, (SCALE, SCALE)):
        before, after = (
            next(iter(restored([model], pair, one.window, options).values())) for model in models
        )
        path = folder / f"{safe_name(one.site)}-{name}{finish.suffix}"
        picture.change(
            one.window.inverse(pair.lr), before, after, one.window.inverse(pair.hr), path, one.window, one.volume.unit,
            names=(plain[0], perceptual[0]), dots=finish.dots,
            title=f"{one.site}, ×{SCALE}: {told}. Research use only.",
            force=True,
        )  # fmt: skip
        yield one.site, path
