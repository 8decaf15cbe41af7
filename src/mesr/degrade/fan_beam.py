"""A circular scan of one slice by a fan of rays: line integrals, and filtered back-projection from them.

The fan is the middle plane of a cone beam. The detector is flat and is described where its shadow falls on the
isocentre, as Kak and Slaney do (Principles of Computerized Tomographic Imaging, 1988, §3.4.2). Both directions
interpolate linearly and need nothing but torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Filter = Literal["ramp", "hann"]
VIEWS_AT_ONCE = 4
"""Views whose rays are sampled together; their places take some tens of megabytes."""


@dataclass(frozen=True)
class FanBeam:
    """The geometry of a scan of a whole turn around the middle of a slice.

    Attributes:
        size: rows and columns of the slice.
        spacing: mm between rows and between columns.
        views: evenly spread over the turn.
        pitch: detector elements, mm at the isocentre.
        source: mm from the focal spot to the isocentre; the slice lies within, corners too.
        radius: mm around the isocentre within which matter lies; what is outside is not seen.
    """

    size: tuple[int, int]
    spacing: tuple[float, float]
    views: int
    pitch: float
    source: float
    radius: float

    @cached_property
    def half(self) -> tuple[float, float]:
        """Half the slice's height and width, mm."""
        return self.size[0] * self.spacing[0] / 2, self.size[1] * self.spacing[1] / 2

    @cached_property
    def elements(self) -> Tensor:
        """(C,) where the detector's elements lie, mm from its middle; wide enough to see every pixel."""
        count = 2 * math.ceil(self._shadow(math.hypot(*self.half)) / self.pitch + 1) + 1
        return (torch.arange(count, dtype=torch.float32) - (count - 1) / 2) * self.pitch

    @cached_property
    def angles(self) -> Tensor:
        """(views,) radians."""
        return (torch.arange(self.views, dtype=torch.float64) * (2 * math.pi / self.views)).float()

    def project(self, image: Tensor) -> Tensor:
        """Integrals along every ray: (H, W) per mm to (views, C) without unit, float32."""
        seen = self.elements.abs() <= self._shadow(self.radius) + self.pitch
        across = self.elements[seen][:, None]
        step = min(self.spacing) / 2
        count = 2 * math.ceil(self.radius / step) + 1
        # A ray's samples are counted from where it passes the isocentre.
        length = torch.sqrt(across**2 + self.source**2)
        along = self.source**2 / length + (torch.arange(count) - (count - 1) / 2) * step
        right, ahead = across / length * along, self.source / length * along - self.source
        result = torch.zeros(self.views, len(self.elements))
        volume = self._within(image.float())[None, None]
        for first in range(0, self.views, VIEWS_AT_ONCE):
            turns = self.angles[first : first + VIEWS_AT_ONCE, None, None]
            cosine, sine = torch.cos(turns), torch.sin(turns)
            rays = torch.stack(
                (
                    (right * cosine - ahead * sine) / self.half[1],
                    (right * sine + ahead * cosine) / self.half[0],
                ),
                dim=-1,
            )
            samples = F.grid_sample(
                volume, rays.flatten(0, 1)[None], padding_mode="zeros", align_corners=False
            )
            result[first : first + len(rays), seen] = samples.sum(dim=-1).view(len(rays), -1) * step
        return result

    def reconstruct(self, sinogram: Tensor, filter: Filter = "ramp") -> Tensor:
        """The image those integrals belong to, by filtered back-projection: (views, C) to (H, W) per mm, float32.

        Args:
            filter: "ramp" as derived; "hann" falls off to nothing at the detector's limit, for less noise.
        """
        weighted = sinogram * (self.source / torch.sqrt(self.elements**2 + self.source**2))
        filtered = self._filtered(weighted, filter)[:, None, None]
        down, right = self._pixels
        end = len(self.elements) * self.pitch / 2
        image = torch.zeros(self.size)
        for view in range(self.views):
            cosine, sine = math.cos(self.angles[view]), math.sin(self.angles[view])
            # 1/U of Kak and Slaney: one at the isocentre, more on the source's side.
            nearness = self.source / (self.source + down * cosine - right * sine)
            place = (right * cosine + down * sine) * nearness / end
            places = torch.stack((place, torch.zeros_like(place)), dim=-1)[None]
            values = F.grid_sample(filtered[view][None], places, padding_mode="border", align_corners=False)
            image.addcmul_(values[0, 0], nearness**2)
        return image * (math.pi / self.views)

    def _filtered(self, sinogram: Tensor, filter: Filter) -> Tensor:
        """Ramp-filtered rows. The ramp is sampled in space, which keeps the mean that a sampled |f| would lose."""
        count = sinogram.shape[-1]
        length = 1 << math.ceil(math.log2(2 * count))
        n = torch.arange(length, dtype=torch.float64)
        n = torch.minimum(n, length - n)
        kernel = torch.where(n % 2 == 1, -1 / (math.pi * n.clamp(min=1) * self.pitch) ** 2, 0.0)
        kernel[0] = 1 / (4 * self.pitch**2)
        response = torch.fft.rfft(kernel).real * self.pitch
        if filter == "hann":
            response *= 0.5 + 0.5 * torch.cos(torch.linspace(0, math.pi, len(response), dtype=torch.float64))
        spectrum = torch.fft.rfft(sinogram, n=length) * response.float()
        filtered: Tensor = torch.fft.irfft(spectrum, n=length)[..., :count]
        return filtered.contiguous()

    @cached_property
    def _pixels(self) -> tuple[Tensor, Tensor]:
        """(H, 1) and (1, W): mm of the pixels below and right of the isocentre."""
        down, right = (
            (torch.arange(count, dtype=torch.float32) - (count - 1) / 2) * spacing
            for count, spacing in zip(self.size, self.spacing, strict=True)
        )
        return down[:, None], right[None]

    def _shadow(self, radius: float) -> float:
        """How far from the detector's middle a disc reaches, mm at the isocentre."""
        return self.source * radius / math.sqrt(self.source**2 - radius**2)

    def _within(self, image: Tensor) -> Tensor:
        """The image without what lies outside the radius."""
        down, right = self._pixels
        within: Tensor = down**2 + right**2 <= self.radius**2
        return image * within
