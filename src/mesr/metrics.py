"""The measures of `protocol.md`, on single slices in the networks' range (0…1, CT: HU −1000…1000).

The headline measures clip to 0…1, as the paper's do; air flatters them. Beside them stand the measures inside
the body and above the window, unclipped, which air and clipping cannot hide anything from.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Image = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
Pixels = TypeVar("Pixels", Image, Mask)

BODY = 0.25
"""What counts as tissue, in the networks' range: −500 HU, or a quarter of an MR window."""

_BLOCK = 4
_SSIM_SIGMA, _SSIM_RADIUS = 1.5, 5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_BANDS = 8


class Measures(NamedTuple):
    """One result against its reference. NaN where there was nothing to measure on.

    Attributes:
        psnr: dB, clipped to 0…1.
        ssim: clipped to 0…1.
        nrmse: Eq. (14), clipped to 0…1.
        psnr_body: dB inside the body, clipped to 0…1.
        mae_body, rmse_body: inside the body, unclipped, in the scan's own unit (HU).
        mae_above: mean |error| where the reference lies above the window (above 1000 HU), unclipped, same unit.
        pixels_body, pixels_above: how many pixels those are means of.
    """

    psnr: float
    ssim: float
    nrmse: float
    psnr_body: float
    mae_body: float
    rmse_body: float
    mae_above: float
    pixels_body: int
    pixels_above: int


def measure(sr: Image, hr: Image, body: Mask, border: int, width: float) -> Measures:
    """Every measure of the protocol.

    Args:
        sr, hr: (H, W) in the networks' range, unclipped.
        body: (H, W), see `body_mask`.
        border: pixels left out on each side, ceil(s).
        width: of the intensity window, units per 1.0 (2000 HU for CT).
    """
    inside = inner(body, border)
    result, reference = inner(sr, border).astype(np.float64), inner(hr, border).astype(np.float64)
    error = result - reference
    clipped = np.clip(result, 0, 1) - np.clip(reference, 0, 1)
    above = reference > 1
    return Measures(
        psnr=psnr(sr, hr, border),
        ssim=ssim(sr, hr, border),
        nrmse=nrmse(sr, hr, border),
        psnr_body=_decibels(_mean(np.square(clipped[inside]))),
        mae_body=width * _mean(np.abs(error[inside])),
        rmse_body=width * math.sqrt(_mean(np.square(error[inside]))),
        mae_above=width * _mean(np.abs(error[above])),
        pixels_body=int(inside.sum()),
        pixels_above=int(above.sum()),
    )


def inner(image: Pixels, border: int) -> Pixels:
    """The image without `border` pixels on each side."""
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def psnr(sr: Image, hr: Image, border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB of images clipped to 0…1: 10·log10(1/MSE).

    Args:
        sr, hr: (H, W) in the network's range.
        border: pixels left out on each side.

    Returns:
        dB; infinity for equal images.
    """
    difference = _clipped(sr, border) - _clipped(hr, border)
    return _decibels(_mean(np.square(difference)))


def nrmse(sr: Image, hr: Image, border: int = 0) -> float:
    """Eq. (14) of the paper: RMSE / (SR_max − SR_min), of images clipped to 0…1; NaN for a constant result.

    Args:
        sr, hr: (H, W) in the network's range.
        border: pixels left out on each side.
    """
    result = _clipped(sr, border)
    span = float(np.ptp(result)) if result.size else 0.0
    error = math.sqrt(_mean(np.square(result - _clipped(hr, border))))
    return error / span if span > 0 else math.nan


def ssim(sr: Image, hr: Image, border: int = 0) -> float:
    """Structural similarity (Wang et al. 2004) of images clipped to 0…1.

    Gaussian window, σ = 1.5, 11×11, K = (0.01, 0.03), data range 1, population covariances, mean over the
    places where the whole window lies inside the image.

    Args:
        sr, hr: (H, W) in the network's range.
        border: pixels left out on each side.

    Returns:
        At most 1; NaN where the window does not fit.
    """
    x, y = (torch.from_numpy(_clipped(image, border)) for image in (sr, hr))
    if min(x.shape) <= 2 * _SSIM_RADIUS:
        return math.nan
    # About the middle of the range float32 loses nothing that counts: within 1e-6 of float64.
    x, y = (x - 0.5).float(), (y - 0.5).float()
    mean_x, mean_y, xx, yy, xy = _smoothed(torch.stack([x, y, x * x, y * y, x * y]))
    variances = (xx - mean_x.square()) + (yy - mean_y.square())
    covariance = xy - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    luminance = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x.square() + mean_y.square() + _SSIM_C1)
    structure = (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)
    return float((luminance * structure).mean(dtype=torch.float64))


def fine_detail(sr: Image, hr: Image, scale: float, border: int = 0) -> float:
    """How much finer detail than the input can hold a result shows, against the reference: the ratio of their powers.

    The mean over bands of spatial frequency between the input's Nyquist limit and the result's own. It does not ask where
    the detail lies: invented texture counts as real, which is what a distance from the reference cannot tell
    (Blau and Michaeli, The Perception-Distortion Tradeoff, CVPR 2018).

    Args:
        sr, hr: (H, W) in the network's range; clipped to 0…1.
        scale: of the result, above 1.
        border: pixels left out on each side.

    Returns:
        dB; 0 for as much as the reference, negative for a smoother result; NaN without detail in the reference.
    """
    result, reference = (_fine_power(_clipped(image, border), scale) for image in (sr, hr))
    if not (reference > 0).all():
        return math.nan
    return float(np.mean(10 * np.log10(np.maximum(result / reference, 1e-12))))


def lattice(sr: Image, hr: Image, scale: int, where: Mask | None = None) -> float:
    """How strongly the error repeats from one input pixel to the next: a grid on even ground, which no other measure names.

    Args:
        sr, hr: (H, W) in any one unit, on a grid that begins with the first pixel's own places.
        scale: of the result, a whole number.
        where: (H, W), what counts; all of it without. Few pixels make noise look like a lattice.

    Returns:
        In their unit: the standard deviation, over the places within an input pixel, of the mean error at a place.
    """
    error = np.where(np.ones(sr.shape, bool) if where is None else where, sr - hr, np.nan)
    places = [error[row::scale, column::scale] for row in range(scale) for column in range(scale)]
    return float(np.std([np.nanmean(place) for place in places]))


def body_mask(hr: Image) -> Mask:
    """Where the patient is: what the body measures are taken on, decided by the reference alone.

    Tissue is what lies above `BODY`. Blocks of 4×4 pixels that are all tissue are kept where they hang together
    to at least a tenth of the largest such piece, so that couch, wires and noise drop out; with them, tissue
    up to one block away. Then whatever lies between tissue both along its row and along its column (lungs,
    bowel gas) is filled in.

    Args:
        hr: (H, W) in the networks' range.

    Returns:
        (H, W), all False where there is no tissue.
    """
    tissue = torch.from_numpy(np.ascontiguousarray(hr > BODY)).float()[None, None]
    height, width = tissue.shape[2:]
    padded = F.pad(tissue, (0, -width % _BLOCK, 0, -height % _BLOCK))
    solid = -F.max_pool2d(-padded, _BLOCK)
    near = F.max_pool2d(_large_pieces(solid), 3, 1, 1)
    near = near.repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)[..., :height, :width]
    body: Mask = (tissue * near)[0, 0].numpy() > 0
    filled: Mask = body | (_between(body, 0) & _between(body, 1))
    return filled


def _large_pieces(solid: Tensor) -> Tensor:
    """Of a (1, 1, h, w) mask of 0 and 1, the 8-connected pieces of at least a tenth of the largest."""
    # The largest label of a piece spreads through it; one sweep is one step, and quarter-size maps need few.
    labels = torch.arange(1.0, solid.numel() + 1).view_as(solid) * solid
    while not torch.equal(spread := F.max_pool2d(labels, 3, 1, 1) * solid, labels):
        labels = spread
    counts = torch.bincount(labels.long().flatten(), minlength=2)
    counts[0] = 0
    large = (counts > 0) & (10 * counts >= counts.max())
    return large[labels.long()].float()


def _between(mask: Mask, axis: int) -> Mask:
    """Where `mask` holds somewhere before and somewhere after (or at) a place along `axis`."""
    before = np.logical_or.accumulate(mask, axis)
    after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
    both: Mask = before & after
    return both


def _smoothed(maps: Tensor) -> Tensor:
    """(n, H, W) under the Gaussian window, only where it fits: (n, H−10, W−10).

    Two products with banded matrices, three times as fast as convolutions on a processor.
    """
    places = torch.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1, dtype=torch.float64)
    window = torch.exp(-places.square() / (2 * _SSIM_SIGMA**2))
    window /= window.sum()
    down, across = (torch.zeros(size - len(window) + 1, size) for size in maps.shape[1:])
    for shift, weight in enumerate(window):
        down.diagonal(shift).fill_(weight)
        across.diagonal(shift).fill_(weight)
    return down @ maps @ across.T


def _clipped(image: Image, border: int) -> npt.NDArray[np.float64]:
    return np.clip(inner(image, border).astype(np.float64), 0, 1)


def _fine_power(image: Image, scale: float) -> npt.NDArray[np.float64]:
    """Power in each band beyond the square of frequencies that an input `scale` times coarser holds, up to 1/2.

    Edges are faded out, as they would count as detail.
    """
    rows, columns = image.shape
    faded = (image - image.mean()) * np.outer(np.hanning(rows), np.hanning(columns))
    power = np.square(np.abs(np.fft.fft2(faded)))
    frequency = np.maximum(np.abs(np.fft.fftfreq(rows))[:, None], np.abs(np.fft.fftfreq(columns)))
    edges = np.linspace(0.5 / scale, 0.5, _BANDS + 1)
    return np.histogram(frequency, edges, weights=power)[0]


def _mean(values: Image) -> float:
    return float(values.mean()) if values.size else math.nan


def _decibels(error: float) -> float:
    return math.inf if error == 0 else -10.0 * math.log10(error)
