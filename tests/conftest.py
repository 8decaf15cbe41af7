"""What tests may need from outside: named, skipped where absent, failed where `MESR_REQUIRE` lists it."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import config as pydicom_config

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure() -> None:
    """What whole files of tests are skipped without is there where it is required."""
    if "SimpleITK" in _required() and importlib.util.find_spec("SimpleITK") is None:
        raise pytest.UsageError("SimpleITK is required here, and is missing")


def _required() -> list[str]:
    return os.environ.get("MESR_REQUIRE", "").split(",")


def require(name: str, present: bool) -> None:
    """Skip the test unless `present`; fail it where the environment's `MESR_REQUIRE` (a comma list) has `name`."""
    if present:
        return
    if name in _required():
        pytest.fail(f"{name} is required here, and is missing")
    pytest.skip(f"needs {name}")


def require_module(name: str) -> Any:
    """A module, or skip or fail by its name."""
    require(name, importlib.util.find_spec(name) is not None)
    return importlib.import_module(name)


def require_program(name: str) -> str:
    """The path of a program, or skip or fail by its name."""
    found = shutil.which(name)
    require(name, found is not None)
    return str(found)


def shared_data() -> Path:
    """`../shared/data`, the real scans; never copied into the repository."""
    require("shared", (_SHARED / "data").is_dir())
    return _SHARED / "data"


@pytest.fixture(name="shared_data")
def _shared_data() -> Path:
    return shared_data()


@pytest.fixture(name="node_libraries")
def _node_libraries() -> Iterator[None]:
    """The libraries of the extra `[node]`, which a node quietens for its process, as they were before and after."""
    require("pynetdicom", importlib.util.find_spec("pynetdicom") is not None)
    from pynetdicom import _config

    names = ("LOG_HANDLER_LEVEL", "LOG_REQUEST_IDENTIFIERS", "LOG_RESPONSE_IDENTIFIERS")
    held = {name: getattr(_config, name) for name in names}
    modes = pydicom_config.settings
    reading, writing, hook = (
        modes.reading_validation_mode,
        modes.writing_validation_mode,
        threading.excepthook,
    )
    loggers = [logging.getLogger(name) for name in ("pynetdicom", "pydicom")]
    levels = [(one, one.level, one.propagate) for one in loggers]
    yield
    for name, value in held.items():
        setattr(_config, name, value)
    modes.reading_validation_mode, modes.writing_validation_mode = reading, writing
    threading.excepthook = hook
    for one, level, propagate in levels:
        one.setLevel(level)
        one.propagate = propagate
