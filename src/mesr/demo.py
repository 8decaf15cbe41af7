"""The demonstration: a real head CT that lies inside pydicom, made finer, and a proof on the same slice.

A finer picture proves nothing, so the slice is also shrunk and restored, and the distance from the truth is
measured for the network and for what one would use without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from . import io, picture
from .errors import InputError
from .evaluate import degraded
from .files import atomic_folder, check_replaceable
from .gallery import restored
from .grid import Target
from .inference import Options
from .intensity import HU_WINDOW
from .job import Settings, run
from .metrics import Measures, measure
from .modality import identified
from .models import weights
from .testset import counted_air
from .upscaling import chosen
from .volume import FloatImage, Note

SCALE = Fraction(5, 2)
SAMPLE = "J2K_pixelrep_mismatch.dcm"
"""512² head CT, 0.43 mm, lossless JPEG 2000, MIT licence with pydicom."""

BASELINES = ("bicubic", "sinc")
OWN, PROOF, RESULT = "made-by-mesr-demo.txt", "proof.png", Path(f"head-x{float(SCALE):g}.dcm")
RESEARCH = "Research use only, not for diagnosis."


@dataclass(frozen=True)
class Demo:
    """What the demonstration made, all in one folder.

    Attributes:
        result: the super-resolved slice, DICOM.
        before_after, proof: pictures.
        measures: by method, of the slice shrunk and restored.
        model: the network's name.
        notes: what was noticed of the slice.
    """

    result: Path
    before_after: Path
    proof: Path
    measures: dict[str, Measures]
    model: str
    notes: tuple[Note, ...]


def demonstrate(out: Path, model: str = "auto", options: Options = Options()) -> Demo:  # noqa: B008
    """Make the demonstration's folder, replacing one that an earlier demonstration made.

    Args:
        out: folder.
        model: as for `mesr.upscale`.
        options: how to compute.

    Raises:
        OutputError: `out` holds something else, code `other-files`.
        WeightsError: there are no such weights.
        InputError: the installed pydicom does not carry the slice, code `no-sample`.
    """
    check_replaceable(
        out,
        (),
        _is_demo,
        "The folder holds something that no demo made.",
        "Choose another: mesr demo -o DIR",
        force=True,
    )
    series = _sample()
    volume = identified(series.open(), None)
    if model == "auto":
        model, _ = chosen(volume)
    with atomic_folder(out, force=True) as folder:
        settings = Settings(model=model, preview=True, compute=options)
        outcome = run(series, Target(scale=(SCALE,)), folder / RESULT, settings)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.preview is not None
        assert outcome.derivation is not None
        name = outcome.derivation.model
        measures = _prove(
            counted_air(volume.slices[0], volume.unit, HU_WINDOW), model, options, folder / PROOF
        )
        text = f"Made by mesr demo with {name}. {RESEARCH}\n"
        (folder / OWN).write_text(text, encoding="utf-8")
        before_after = out / outcome.preview.name
    return Demo(out / RESULT, before_after, out / PROOF, measures, name, outcome.notes)


def _is_demo(folder: Path) -> bool:
    """Whether an earlier demonstration made all that is in `folder`."""
    names = {path.name for path in folder.iterdir()}
    return OWN in names and names <= {OWN, PROOF, RESULT.name, f"{RESULT.stem}.preview.png"}


def _prove(reference: FloatImage, model: str, options: Options, path: Path) -> dict[str, Measures]:
    """Shrink the slice, restore it by every method, measure and draw (`protocol.md`)."""
    pair = degraded(HU_WINDOW.forward(reference), (SCALE, SCALE))
    lr, hr = HU_WINDOW.inverse(pair.lr), HU_WINDOW.inverse(pair.hr)
    loaded = [weights.load(name) for name in dict.fromkeys((*BASELINES, model))]
    images = restored(loaded, pair, HU_WINDOW, options)
    measures = {
        name: measure(HU_WINDOW.forward(image), pair.hr, pair.body, pair.border, HU_WINDOW.width)
        for name, image in images.items()
    }
    picture.comparison(
        lr, images, hr, path, title=f"A head CT shrunk by {float(SCALE):g} and restored. {RESEARCH}"
    )
    return measures


def _sample() -> io.Item:
    from pydicom.data import get_testdata_file

    try:
        path = get_testdata_file(SAMPLE, download=False)
    except Exception as error:
        raise _no_sample() from error
    found = io.discover([Path(str(path))])
    if path is None or not found.items:
        raise _no_sample()
    return found.items[0]


def _no_sample() -> InputError:
    return InputError(
        "no-sample",
        "The installed pydicom does not carry the head CT of the demo.",
        "Reinstall it with: pip install --force-reinstall pydicom",
    )
