"""The compiled kernels: built once for this machine, kept in the user's cache, loaded by ctypes.

The build is keyed by source, compiler and processor, so that a home shared by unlike machines is safe, and is
loaded only from a folder that nobody else can write to. `MESR_KERNELS=off` does without.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

_SOURCES = tuple(Path(__file__).with_name(name) for name in ("winograd.c", "products.c"))
_FLAGS = ("-O3", "-march=native", "-std=c11", "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC")
_BUILD_SECONDS = 60
_BUILDING = threading.Lock()
_log = logging.getLogger(__name__)


def library() -> ctypes.CDLL | None:
    """The loaded kernels, or None where they are switched off or cannot be had; the log says why."""
    with _BUILDING:
        return _library()


def build_ahead() -> None:
    """Build them in a thread, where they are not built yet: while PyTorch is imported, say, which takes as long."""
    threading.Thread(target=library, name="mesr-kernels").start()


@functools.cache
def _library() -> ctypes.CDLL | None:
    if os.environ.get("MESR_KERNELS", "on").lower() in ("off", "0", "no"):
        return None
    compiler = shutil.which("gcc") or shutil.which("cc")
    if platform.system() != "Linux" or compiler is None:
        _log.info("No compiler for the fast convolution; PyTorch's own is used.")
        return None
    try:
        return _declared(ctypes.CDLL(str(_built(compiler))))
    except (
        OSError,
        RuntimeError,
        subprocess.SubprocessError,
    ) as error:  # RuntimeError: a user without a home.
        _log.info(
            "The fast convolution could not be built (%s); PyTorch's own is used.", type(error).__name__
        )
        return None


def functions() -> ctypes.CDLL:
    """The loaded kernels, where it is known that they are there."""
    found = library()
    assert found is not None
    return found


def _built(compiler: str) -> Path:
    folder = _cache()
    made = folder / f"kernels-{_key(compiler)}.so"
    if made.exists() and made.stat().st_uid == os.getuid():
        return made
    handle, temporary = tempfile.mkstemp(suffix=".so", dir=folder)
    os.close(handle)
    try:
        command = [compiler, *_FLAGS, *map(str, _SOURCES), "-o", temporary]
        subprocess.run(command, check=True, capture_output=True, timeout=_BUILD_SECONDS)
        Path(temporary).replace(made)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return made


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "mesr"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError("the cache folder is not this user's alone")
    return folder


def _key(compiler: str) -> str:
    version = subprocess.run(
        [compiler, "-dumpfullversion"], capture_output=True, timeout=10, check=True
    ).stdout
    flags = [
        line
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith(("flags", "Features"))
    ]
    parts = (
        *(source.read_bytes() for source in _SOURCES),
        version,
        " ".join(_FLAGS).encode(),
        "".join(flags[:1]).encode(),
    )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _declared(loaded: ctypes.CDLL) -> ctypes.CDLL:
    pointer, number, stride = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
    products: list[Any] = [pointer, stride] * 2 + [pointer] * 5 + [stride] + [number] * 4
    loaded.winograd_convolve.argtypes = [pointer] * 7 + [number] * 8
    loaded.winograd_gradient.argtypes = [pointer] * 6 + [number] * 6
    loaded.head_products.argtypes = products
    loaded.head_products.restype = None
    loaded.head_interleave.argtypes = [pointer] * 4 + [stride] + [number] * 3
    loaded.head_interleave.restype = None
    return loaded
