"""Orthanc from Debian, started on loopback for a test or a measurement."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from conftest import require, require_program
from peers import free_port, wait_until
from pydicom import Dataset, dcmread

_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc."""

    http: int
    dicom: int

    def ask(self, path: str, data: Any = None, method: str | None = None) -> Any:
        """Its REST interface: JSON, or bytes where it is none."""
        body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", body, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            text = response.read()
        try:
            return json.loads(text)
        except ValueError:
            return text

    def objects(self) -> list[Dataset]:
        """Everything it holds."""
        return [dcmread(BytesIO(self.ask(f"/instances/{one}/file"))) for one in self.ask("/instances")]


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[Orthanc]:
    """An Orthanc that answers, and that ends with the block."""
    program = require_program("Orthanc")
    require("orthanc-dicomweb", _DICOMWEB.is_file())
    folder.mkdir()
    http, dicom = free_port(), free_port()
    about = {
        "Name": "mesr test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "OverwriteInstances": False,
        "Plugins": [str(_DICOMWEB)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(about))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    one = Orthanc(http, dicom)

    def answers() -> bool:
        assert process.poll() is None, "Orthanc ended"
        try:
            return bool(one.ask("/system"))
        except OSError:
            return False

    try:
        wait_until(answers, 60)
        yield one
    finally:
        process.terminate()
        process.wait(30)
