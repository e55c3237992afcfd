"""What is fixed when a session is created: ``system_state/session.json``, never rewritten."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from custody import layout
from custody.errors import ArchiveDamaged, SessionNotFound
from custody.redact import Redactor, mask_command
from custody.sessions import process
from custody.stamps import now
from custody.storage import Storage
from custody.storage.folders import Folder


class PluginVersion(BaseModel):
    """A plugin that was loaded when the session was created."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    distribution: str


class Manifest(BaseModel):
    """``system_state/session.json``.

    Attributes:
        layout: version of the layout; readers know every version up to their own.
        command: the program and its arguments, secrets masked; None where it is not known.
        working_directory: where the command ran, relative to the root; ``.`` where the root is a URL.
        shard: which items of every plan it is for, as ``--shard`` had it; None for all, and where workers share it.
    """

    model_config = ConfigDict(frozen=True)

    layout: int = layout.LAYOUT_VERSION
    session: str
    project: str
    experiment: str
    created: str
    custody: str
    python: str
    command: list[str] | None = None
    working_directory: str = "."
    plugins: list[PluginVersion] = Field(default_factory=list)
    shard: str | None = None


READERS: Mapping[int, Callable[[Any], Manifest]] = {3: Manifest.model_validate}
"""How each version that shipped is read. What was added within one has a default."""


def new(
    root: Folder, session: str, project: str, experiment: str, command: list[str] | None, shard: str | None = None
) -> Manifest:
    """The manifest of a session that is being created by this process."""
    installed = process.install()
    plugins = [
        PluginVersion(name=f.name, version=f.version, distribution=f.distribution)
        for f in installed.hooks.found
        if installed.hooks.acts(f.name)
    ]
    return Manifest(
        session=session,
        project=project,
        experiment=experiment,
        created=now(),
        custody=process.custody_version(),
        python=".".join(map(str, sys.version_info[:3])),
        command=mask_command(command) if command else None,
        working_directory=os.path.relpath(Path.cwd(), root) if isinstance(root, Path) else ".",
        plugins=plugins,
        shard=shard,
    )


def write(storage: Storage, manifest: Manifest, redactor: Redactor) -> None:
    """Write manifest and request key of a new session."""
    text = json.dumps(manifest.model_dump(), ensure_ascii=False, indent=2)
    key = {"algorithm": "HMAC-SHA-256", "key": secrets.token_hex(32)}
    storage.put_if_absent(layout.REQUEST_KEY, json.dumps(key).encode() + b"\n")
    storage.put_if_absent(layout.MANIFEST, redactor.scrub(text.encode("utf-8", "backslashreplace")) + b"\n")


def read(storage: Storage) -> Manifest:
    """Raises SessionNotFound, ArchiveDamaged."""
    data = _read(storage, layout.MANIFEST)
    version = data.get("layout") if isinstance(data, dict) else None
    if isinstance(version, int) and version not in READERS:
        way = "update custody" if version > layout.LAYOUT_VERSION else "see custody migrate"
        raise ArchiveDamaged(
            f"{storage.url} has layout {version}, this custody reads {', '.join(map(str, READERS))}: {way}"
        )
    try:
        return READERS.get(version, Manifest.model_validate)(data)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ArchiveDamaged(
            f"{storage.url}/{layout.MANIFEST} is damaged: {error.error_count()} wrong fields"
        ) from error


def read_key(storage: Storage) -> bytes:
    """The session's request key. Raises SessionNotFound, ArchiveDamaged."""
    data = _read(storage, layout.REQUEST_KEY)
    try:
        return bytes.fromhex(data["key"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveDamaged(f"{storage.url}/{layout.REQUEST_KEY} is damaged; without it nothing replays") from error


def unique_name(storage: Storage) -> str:
    """A name that no other session has anywhere: ids repeat in other experiments, the request key does not."""
    digest = hashlib.sha256(read_key(storage)).hexdigest()
    return f"{read(storage).session}-{digest[:16]}"


def _read(storage: Storage, name: str) -> Any:
    try:
        return json.loads(storage.read(name))
    except FileNotFoundError as error:
        if name != layout.MANIFEST and any(each.name == layout.MANIFEST for each in storage.list(layout.MANIFEST)):
            raise SessionNotFound(
                f"{storage.url} has no {name}: it was withheld, or is lost, and nothing replays without it. Put it "
                "back from a copy; to look, verify and export it is not needed"
            ) from error
        raise SessionNotFound(f"{storage.url} is no session: it has no {name}") from error
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise ArchiveDamaged(f"{storage.url}/{name} is damaged: {error}") from error
