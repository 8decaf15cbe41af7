"""MONAI transforms: an image or some of a dictionary's, super-resolved, their affine with them.

Compose([LoadImaged("ct"), EnsureChannelFirstd("ct"), SuperResolutiond("ct", spacing=0.5, modality="CT")])
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch

from ..errors import MissingExtra
from .image import Request, super_resolved

try:
    from monai.data import MetaTensor
    from monai.transforms import MapTransform, Transform
except ModuleNotFoundError:
    raise MissingExtra(package="monai", extra="monai", purpose="The MONAI transform") from None


class SuperResolution(Transform):  # type: ignore[misc]
    """An image at another magnification.

    Args:
        request: `scale`, `spacing` or `size`, and `model`, `modality`, `device` (`image.Request`).

    Raises:
        UsageError: at once, the target makes no sense.
    """

    def __init__(self, **request: Any) -> None:
        self.request = Request(**request)
        self.request.target()

    def __call__(self, data: torch.Tensor | np.ndarray[Any, Any]) -> MetaTensor:
        """(C, I, J, K), or (C, I, J) for one slice, to a MetaTensor of its new size with its affine and meta data.

        A plain tensor has the identity for its affine.
        """
        image = data if isinstance(data, MetaTensor) else MetaTensor(torch.as_tensor(data))
        values = image.detach().cpu().numpy()
        flat = values.ndim == 3
        found, affine = super_resolved(
            values[..., None] if flat else values, image.affine.cpu().numpy(), self.request
        )
        made = torch.from_numpy(found[..., 0] if flat else found).to(image.device)
        meta = {key: value for key, value in image.meta.items() if key != "affine"}
        result = MetaTensor(made, affine=torch.from_numpy(affine), meta=meta)
        result.applied_operations = image.applied_operations
        return result


class SuperResolutiond(MapTransform):  # type: ignore[misc]
    """`SuperResolution` of some of a dictionary's images.

    Args:
        keys: of the images.
        allow_missing_keys: leave out those that are not there.
        request: as `SuperResolution`.
    """

    def __init__(self, keys: Any, allow_missing_keys: bool = False, **request: Any) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = SuperResolution(**request)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with its images at `keys` replaced."""
        found = dict(data)
        for key in self.key_iterator(found):
            found[key] = self.transform(found[key])
        return found
