"""The recordings of ``../shared/wire``: VCR cassettes in YAML, read without a cassette library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade")


@dataclass(frozen=True)
class Recorded:
    """One recorded exchange, as it can be played.

    Attributes:
        id: cassette, a hash sign, the number of the exchange in it from 0.
        vendor: the folder it lies in ("azure-openai").
        request_headers: names in lower case.
        headers: of the response, without those that belong to a connection.
        body: of the response, as it travelled.
        mended: what the source had dropped or decoded and the player had to set right.
    """

    id: str
    vendor: str
    cassette: str
    method: str
    url: str
    request_headers: dict[str, str]
    request_body: bytes
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    mended: tuple[str, ...]

    @cached_property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        return self.parts.hostname or ""

    @property
    def path(self) -> str:
        """Unquoted: SDKs differ in how they write a colon."""
        return unquote(self.parts.path)

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.parts.query, keep_blank_values=True))

    @cached_property
    def request_json(self) -> Any:
        try:
            return json.loads(self.request_body)
        except ValueError:
            return None

    def header(self, name: str) -> str | None:
        """A header of the response."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def content_type(self) -> str:
        return (self.header("content-type") or "").partition(";")[0].strip().lower()


def find(start: Path) -> Path | None:
    """The folder of the recordings, beside the project that ``start`` lies in."""
    for folder in start.resolve().parents:
        if (folder / "pyproject.toml").is_file() and (folder / "src" / "custody").is_dir():
            found = folder.parent / "shared" / "wire"
            return found if found.is_dir() else None
    return None


def cassettes(wire: Path) -> list[Path]:
    return sorted(path for path in wire.rglob("*") if path.suffix in (".yaml", ".yml"))


def read_all(wire: Path) -> Iterator[Recorded]:
    """Every exchange of every cassette, in the order of the names."""
    for path in cassettes(wire):
        name = path.relative_to(wire).as_posix()
        for number, both in enumerate(yaml.load(path.read_bytes(), Loader=_Loader)["interactions"]):
            yield _recorded(name, number, both["request"], both["response"])


def _recorded(cassette: str, number: int, request: dict[str, Any], response: dict[str, Any]) -> Recorded:
    body = _bytes(response["body"]["string"])
    pairs = [(name, value) for name, value in _pairs(response["headers"]) if name.lower() not in _HOP_BY_HOP]
    mended = []
    names = {name.lower() for name, _ in pairs}
    if "content-encoding" in names and body[:2] != b"\x1f\x8b":
        pairs = [pair for pair in pairs if pair[0].lower() != "content-encoding"]
        mended.append("content-encoding taken away: the source had decoded the body")
    if "content-type" not in names and response["status"]["code"] != 204:
        pairs.append(("content-type", _content_type(body)))
        mended.append("content-type added: the source had dropped the headers")
    return Recorded(
        id=f"{cassette}#{number}",
        vendor=cassette.split("/")[1],
        cassette=cassette,
        method=request["method"].upper(),
        url=request["uri"],
        request_headers={name.lower(): value for name, value in _pairs(request["headers"])},
        request_body=_bytes(request["body"]),
        status=response["status"]["code"],
        reason=response["status"]["message"] or "",
        headers=tuple(pairs),
        body=body,
        mended=tuple(mended),
    )


def _content_type(body: bytes) -> str:
    if body.startswith((b"data:", b"event:")):
        return "text/event-stream; charset=utf-8"
    return "application/vnd.amazon.eventstream" if body.startswith(b"\x00\x00") else "application/json"


def _pairs(headers: dict[str, Any] | None) -> list[tuple[str, str]]:
    found = []
    for name, value in (headers or {}).items():
        found += [(str(name), _text(one)) for one in (value if isinstance(value, list) else [value])]
    return found


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _bytes(text: str | bytes | None) -> bytes:
    return text.encode() if isinstance(text, str) else text or b""
