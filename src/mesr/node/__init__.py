"""The DICOM node: series come in by C-STORE, and their super-resolved neighbours go out by C-STORE or STOW-RS.

It stands beside a PACS for weeks, so what it has acknowledged survives it: an object is on the disk before its sender
hears success, and every step from there on is one transaction of a queue that a killed process finds as it left it.

    receive  ─►  spool + store  ─►  work (job.run)  ─►  store  ─►  send
    the network  files and queue    one series a time             a thread for each destination

`service` starts and stops the parts, `health` and `overview` tell how they are.
"""

from __future__ import annotations

from ..errors import MissingExtra


def require_extra() -> None:
    """Check that the extra `[node]` is installed.

    Raises:
        MissingExtra: it is not.
    """
    for package in ("pynetdicom", "pydantic"):
        try:
            __import__(package)
        except ImportError:
            raise MissingExtra(package=package, extra="node", purpose="The DICOM node") from None
