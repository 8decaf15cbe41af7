"""node.yaml: what the node listens to, what it makes of which series, and where results go.

Checked whole before a port is opened. A network door is configured once and then trusted for months, so an unknown key
or a value of the wrong kind is an error with its place, not a default.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from ..errors import MesrError, UsageError
from ..grid import Target
from ..limits import NODE_ASSOCIATIONS, NODE_CONFIG_BYTES, NODE_IDLE_SECONDS, NODE_OBJECT_MIB

Number = StrictInt | StrictFloat | StrictStr


def _ae_title(text: str) -> str:
    """1 to 16 characters of the default repertoire without a backslash (VR AE, PS3.5 table 6.2-1)."""
    if not (0 < len(text) <= 16 and text.isascii() and text.isprintable() and "\\" not in text):
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    if text != text.strip():
        raise ValueError("an AE title begins and ends with no space")
    return text


def _beside(path: Path, info: ValidationInfo) -> Path:
    """A path of the file counts from the file's folder."""
    folder = (info.context or {}).get("folder", Path())
    return Path(folder, path.expanduser())


def _name(text: str) -> str:
    if not (0 < len(text) <= 32 and all(c.isascii() and (c.isalnum() or c in "-_.") for c in text)):
        raise ValueError("a name has 1 to 32 letters, digits, dots, dashes and underscores")
    return text


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Name = Annotated[str, AfterValidator(_name)]
FilePath = Annotated[Path, AfterValidator(_beside)]
Port = Annotated[int, Field(ge=1, le=65_535)]
FreePort = Annotated[int, Field(ge=0, le=65_535)]
"""0 takes any port that is free; `node.json` in the spool tells which."""

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerTls(_Section):
    """TLS towards peers that call. With `clients` only those with a certificate of that authority are heard."""

    certificate: FilePath
    key: FilePath
    clients: FilePath | None = None


class ClientTls(_Section):
    """TLS towards a destination: whose certificates are believed (the system's where none), and our own."""

    authority: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None


class Listen(_Section):
    """Where C-ECHO and C-STORE come in, and from whom."""

    calling: list[AeTitle] = Field(min_length=1)
    called: list[AeTitle] = Field(default=["MESR"], min_length=1)
    host: str = "127.0.0.1"
    port: FreePort = 11_112
    tls: ServerTls | None = None
    associations: int = Field(default=NODE_ASSOCIATIONS, ge=1, le=256)
    idle_seconds: Seconds = NODE_IDLE_SECONDS
    max_object_mib: int = Field(default=NODE_OBJECT_MIB, ge=1, le=4095)


class Rule(_Section):
    """Which series, and what is made of them; the first that matches is taken."""

    name: Name
    modality: Literal["CT", "MR"] | None = None
    description: str | None = None
    calling: list[AeTitle] | None = None
    called: list[AeTitle] | None = None
    model: str = "auto"
    scale: Number | None = None
    spacing: Number | None = None
    size: Number | None = None
    exact_spacing: StrictBool = False
    downsample: StrictBool = False
    count: int | None = Field(default=None, ge=1)
    destinations: list[Name] | None = Field(default=None, min_length=1)

    @property
    def target(self) -> Target:
        """What is asked for."""
        return Target.of(
            scale=self.scale,
            spacing=self.spacing,
            size=self.size if self.size is None else str(self.size),
            exact_spacing=self.exact_spacing,
            downsample=self.downsample,
        )

    @model_validator(mode="after")
    def _has_target(self) -> Self:
        try:
            _ = self.target
        except MesrError as error:
            raise ValueError(error.sentence) from None
        return self


class CStore(_Section):
    """A destination that takes C-STORE."""

    type: Literal["c-store"]
    name: Name
    host: str
    port: Port
    called: AeTitle
    calling: AeTitle = "MESR"
    tls: ClientTls | None = None
    timeout_seconds: Seconds = 30.0


class Stow(_Section):
    """A destination that takes STOW-RS (PS3.18 10.5): `url` is the service's root, before `/studies`."""

    type: Literal["stow-rs"]
    name: Name
    url: str
    user: str | None = None
    password_file: FilePath | None = None
    token_file: FilePath | None = None
    tls: ClientTls | None = None
    timeout_seconds: Seconds = 60.0

    @model_validator(mode="after")
    def _sound(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("url must be http(s)://host[:port]/path")
        if parts.username or parts.password:
            raise ValueError("url must hold no password; use user and password_file")
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file go together")
        if self.user is not None and self.token_file is not None:
            raise ValueError("either user or token_file, not both")
        if self.tls is not None and parts.scheme != "https":
            raise ValueError("tls needs an https url")
        return self


Destination = Annotated[CStore | Stow, Field(discriminator="type")]


class Retry(_Section):
    """The wait after a failure, doubled at each further one up to the most. Nothing is ever given up."""

    first_seconds: Seconds = 5.0
    most_seconds: Seconds = 600.0


class Health(_Section):
    """Where `/health` and `/metrics` are served."""

    host: str = "127.0.0.1"
    port: FreePort = 9_112


class NodeConfig(_Section):
    """All of node.yaml."""

    spool: FilePath
    listen: Listen
    rules: list[Rule] = Field(min_length=1)
    destinations: list[Destination] = Field(min_length=1)
    quiet_seconds: Seconds = 30.0
    retry: Retry = Retry()
    health: Health | None = Health()
    keep_hours: float = Field(default=24.0, ge=0, le=100_000, allow_inf_nan=False)
    min_free_mib: int = Field(default=1024, ge=0)
    stop_seconds: Seconds = 30.0
    device: str = "auto"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    keep_private: StrictBool = False

    @model_validator(mode="after")
    def _names(self) -> Self:
        for kind, names in (
            ("rules", [rule.name for rule in self.rules]),
            ("destinations", [one.name for one in self.destinations]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"two {kind} have the same name")
        known = {one.name for one in self.destinations}
        for rule in self.rules:
            if unknown := set(rule.destinations or ()) - known:
                raise ValueError(
                    f"rule {rule.name} sends to {sorted(unknown)[0]}, which is none of the destinations"
                )
        return self


def load(path: Path) -> NodeConfig:
    """The configuration in a file; its paths count from the file's folder.

    Raises:
        UsageError: code `config`; it cannot be read, or a key or value is wrong. The first that is wrong is named.
    """
    try:
        with path.open("rb") as file:
            text = file.read(NODE_CONFIG_BYTES + 1)
        if len(text) > NODE_CONFIG_BYTES:
            raise ValueError
        values: Any = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        raise UsageError("config", "The configuration is not a readable YAML file.", path=path) from None
    if not isinstance(values, dict):
        raise UsageError("config", "The configuration must be a mapping of keys to values.", path=path)
    try:
        return NodeConfig.model_validate(values, context={"folder": path.absolute().parent})
    except ValidationError as error:
        raise _told(error, path) from None


def _told(error: ValidationError, path: Path) -> UsageError:
    """The first thing wrong, with the place it is at."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    key = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, _keys(), n=1)
        hint = f"Did you mean {close[0]}?" if close else "docs/reference/node.md lists every key."
        return UsageError("config", f"The configuration has no key {place[:80]}.", hint, path)
    what = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    return UsageError("config", f"In the configuration {place[:80]} is wrong: {what}.", "", path)


def _keys() -> list[str]:
    kinds = (NodeConfig, Listen, ServerTls, ClientTls, Rule, CStore, Stow, Retry, Health)
    return sorted({key for kind in kinds for key in kind.model_fields})
