"""TLS towards a destination."""

from __future__ import annotations

import ssl

from ..errors import UsageError
from .config import ClientTls


def client_context(tls: ClientTls) -> ssl.SSLContext:
    """TLS 1.2 or later; the destination's certificate and name are checked.

    Raises:
        UsageError: code `certificate`; a file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=tls.authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ValueError):
        raise certificate_error() from None
    return context


def certificate_error() -> UsageError:
    """A certificate, key or authority of the configuration that is none."""
    return UsageError(
        "certificate", "A certificate or key of the configuration cannot be read.", "They are PEM files."
    )
