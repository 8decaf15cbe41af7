"""A safetensors file, written so that nothing is left half done."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .files import atomic_path


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, force: bool = False
) -> None:
    """Write tensors, contiguous and on the CPU, and what the header says of them.

    Raises:
        OutputError: codes `exists` and `unwritable`; a full disk is one.
    """
    with atomic_path(path, force=force) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata=dict(metadata))
        except SafetensorError as error:  # As it calls whatever the system refuses.
            refused = re.search(r"os error (\d+)", str(error))
            if refused is None:
                raise
            raise OSError(int(refused[1]), "not written") from error
