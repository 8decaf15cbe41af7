"""Pictures of an assessment: one figure a site, its middle slice shrunk, restored by every method, and the errors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from . import picture
from .degrade import recipe
from .evaluate import Model, Pair, Scale, degraded, label, parse_scale
from .files import safe_name
from .grid import Number
from .inference import Options, Upscaler
from .intensity import Window
from .models import weights
from .testset import EvaluationSpec, Subject, counted_air, subjects
from .volume import FloatImage


def restored(
    models: Sequence[Model],
    pair: Pair,
    window: Window,
    options: Options = Options(),  # noqa: B008
    names: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, FloatImage]:
    """Each method's answer to a pair's low-resolution image, (H', W') in the scan's unit, by name.

    Args:
        names: what methods are called instead.
    """
    values = window.inverse(pair.lr)
    return {
        names.get(card.name, card.name): Upscaler(model, pair.grid, window, options).compute(values)
        for model, card in models
        if all(model.scales.covers(round(scale, 2)) for scale in pair.grid.scale[1:])
    }


def illustrate(
    models: Sequence[str | Path],
    spec: EvaluationSpec,
    out: Path,
    *,
    scale: Number | Sequence[Number] = 2,
    degradation: str = "bicubic",
    options: Options = Options(),  # noqa: B008
    names: Mapping[str, str] = MappingProxyType({}),
    finish: picture.Finish = picture.Finish(),  # noqa: B008
) -> list[Path]:
    """Draw `out/SITE-xSCALE.png` for every site, from its middle slice, over earlier ones.

    Args:
        models: names as for `models.weights.load`.
        spec: whose scans are shown.
        scale: one, or one per axis.
        names: what the pictures call methods, by their names.
        finish: of the pictures.

    Raises:
        InputError: a scan cannot be read.
        OutputError: a picture cannot be written there.
    """
    loaded = weights.load_each(models)
    factor = parse_scale(scale)
    paths = []
    for one, pair in middles(spec, factor, degradation):
        path = out / f"{safe_name(one.site)}-x{label(factor)}{finish.suffix}"
        picture.comparison(
            one.window.inverse(pair.lr),
            restored(loaded, pair, one.window, options, names),
            one.window.inverse(pair.hr),
            path,
            one.window,
            one.volume.unit,
            title=f"{one.site}, shrunk by {label(factor)} and restored. Research use only.",
            dots=finish.dots,
            force=True,
        )
        paths.append(path)
    return paths


def illustrate_scales(
    models: Sequence[str | Path],
    spec: EvaluationSpec,
    out: Path,
    scales: Sequence[Number],
    *,
    sites: Collection[str],
    name: str,
    options: Options = Options(),  # noqa: B008
    names: Mapping[str, str] = MappingProxyType({}),
    finish: picture.Finish = picture.Finish(dots=130),  # noqa: B008
) -> list[Path]:
    """Draw `out/SITE-NAME.png` for each of the sites, its middle slice at every scale, over earlier ones.

    Args:
        sites: all of them where empty.
        names, finish: as for `illustrate`.

    Raises:
        InputError: a scan cannot be read.
        OutputError: a picture cannot be written there.
    """
    loaded = weights.load_each(models)
    paths = []
    for one in middle_slices(spec):
        if sites and one.site not in sites:
            continue
        shown = {}
        for scale in map(parse_scale, scales):
            pair = shrunk(one, scale)
            lr, hr = one.window.inverse(pair.lr), one.window.inverse(pair.hr)
            shown[label(scale)] = picture.Restored(lr, restored(loaded, pair, one.window, options, names), hr)
        path = out / f"{safe_name(one.site)}-{name}{finish.suffix}"
        title = f"{one.site}, shrunk by each scale and restored. Research use only."
        picture.over_scales(
            shown, path, one.window, one.volume.unit, title=title, dots=finish.dots, force=True
        )
        paths.append(path)
    return paths


def middle_slices(spec: EvaluationSpec) -> list[Subject]:
    """The middle slice of every site."""
    sites: dict[str, list[Subject]] = {}
    for one in subjects(spec):
        sites.setdefault(one.site, []).append(one)
    return [there[len(there) // 2] for there in sites.values()]


def middles(
    spec: EvaluationSpec, scale: Scale, degradation: str = "bicubic"
) -> Iterator[tuple[Subject, Pair]]:
    """The middle slice of every site, shrunk.

    Raises:
        InputError: a scan cannot be read.
    """
    for one in middle_slices(spec):
        yield one, shrunk(one, scale, degradation)


def shrunk(one: Subject, scale: Scale, degradation: str = "bicubic") -> Pair:
    """A slice, shrunk.

    Raises:
        InputError: it cannot be read.
    """
    reference = counted_air(one.volume.slices[one.k], one.volume.unit, one.window)
    source = partial(one.seen_by, recipe(degradation), reference, 0)
    return degraded(one.window.forward(reference), scale, degradation, 0, source)
