"""An earlier session whose archive may answer, because the user asked for it (``pipeline.reuse``)."""

from __future__ import annotations

import os

from custody import layout
from custody.journal.archive import Archive
from custody.pipeline.flow import Flow
from custody.pipeline.reuse import Origin
from custody.sessions import children
from custody.sessions import manifest as manifests
from custody.storage.folders import Folder, at


def origin(path: Folder) -> Origin:
    """The session at ``path``, read. Raises SessionNotFound, ArchiveDamaged."""
    storage = at(path)
    archive = Archive(storage)
    archive.refresh()
    return Origin(manifests.read(storage).session, manifests.read_key(storage), archive)


def allow(flow: Flow, root: Folder, session: str | os.PathLike[str]) -> None:
    """Let it answer, in this process and in those that it starts."""
    flow.reuse = origin(layout.find_session(root, os.fspath(session)))
    children.set_here({children.ENV_REUSE: flow.reuse.archive.storage.url})
