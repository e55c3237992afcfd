"""Reads multipart/form-data, as the SDKs send it for files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_PARAMETER = re.compile(r'(\w+)\*?="((?:[^"\\]|\\.)*)"')
_KEYS = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True)
class File:
    """An uploaded file."""

    name: str
    media_type: str
    data: bytes


def parse(content_type: str, body: bytes) -> tuple[dict[str, Any], dict[str, list[File]]]:
    """The fields and the files of a form.

    `a[b]` becomes an object, `a[]` a list; a field that comes twice becomes a list.
    """
    boundary = content_type.partition("boundary=")[2].partition(";")[0].strip().strip('"')
    fields: dict[str, Any] = {}
    files: dict[str, list[File]] = {}
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        data = data.removesuffix(b"\r\n")
        lines = dict(_header(line) for line in head.decode("utf-8", "replace").split("\r\n") if ":" in line)
        said = dict(_PARAMETER.findall(lines.get("content-disposition", "")))
        name = said.get("name", "")
        if "filename" in said:
            kind = lines.get("content-type", "application/octet-stream")
            files.setdefault(name.partition("[")[0], []).append(File(said["filename"], kind, data))
        else:
            _put(fields, name, data.decode("utf-8", "replace"))
    return fields, files


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def _put(fields: dict[str, Any], name: str, value: str) -> None:
    first = name.partition("[")[0]
    *path, last = [first, *_KEYS.findall(name)]
    if last == "" and path:
        fields.setdefault(first, []).append(value)
        return
    for key in path:
        fields = fields.setdefault(key, {})
    if last in fields:
        known = fields[last] if isinstance(fields[last], list) else [fields[last]]
        fields[last] = [*known, value]
    else:
        fields[last] = value
