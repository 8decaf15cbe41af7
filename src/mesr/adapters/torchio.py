"""A TorchIO transform: a subject's scalar images super-resolved, its label maps brought to the same grid.

tio.Compose([tio.ToCanonical(), SuperResolution(spacing=0.5, modality="CT")])
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..errors import MissingExtra
from .image import Request, super_resolved

try:
    import torchio as tio
    from torchio.transforms.spatial_transform import SpatialTransform
except ModuleNotFoundError:
    raise MissingExtra(package="torchio", extra="torchio", purpose="The TorchIO transform") from None


class SuperResolution(SpatialTransform):  # type: ignore[misc]
    """Images at another magnification, labels by the nearest voxel.

    Args:
        scale, spacing, size, model, modality, device: as `image.Request`.
        keywords: of every TorchIO transform: `p`, `include`, `exclude`, …

    Raises:
        UsageError: at once, the target makes no sense.
    """

    def __init__(
        self,
        scale: Any = None,
        spacing: Any = None,
        size: Any = None,
        model: str = "auto",
        modality: str | None = None,
        device: str = "auto",
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.scale, self.spacing, self.size = scale, spacing, size
        self.model, self.modality, self.device = model, modality, device
        self.args_names = ["scale", "spacing", "size", "model", "modality", "device"]
        self.request.target()

    @property
    def request(self) -> Request:
        """What is asked for."""
        return Request(self.scale, self.spacing, self.size, self.model, self.modality, self.device)

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """The subject with its images, (C, I, J, K) each, replaced."""
        for image in self.get_images(subject):
            labels = isinstance(image, tio.LabelMap)
            # An interpolator needs no modality, and the nearest voxel's label is a label.
            request = replace(self.request, model="nearest", modality=None) if labels else self.request
            found, affine = super_resolved(image.data.numpy(), image.affine, request)
            made = torch.from_numpy(found)
            image.set_data(made.to(image.data.dtype) if labels else made)
            image.affine = affine
        return subject
