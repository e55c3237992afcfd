"""Which project and experiment a folder of the source was."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from custody import layout
from custody.migrate.source import shown

_PLAIN = ("projects", "experiments")


class Home(NamedTuple):
    """Names in layout v3, and the project's folder in the source (None: above it)."""

    project: str
    experiment: str
    project_folder: str | None


def home(source: Path, root: str) -> Home:
    """Names for an experiment's folder ``root`` (relative to ``source``)."""
    inner = [part for part in root.split("/") if part]
    above = [part for part in source.parts[-3:] if part not in ("/", "\\")]
    names = [*above, *inner]
    if "projects" in names[:-1]:
        at = len(names) - 2 - names[:-1][::-1].index("projects")
        project, rest = names[at + 1], [n for n in names[at + 2 :] if n not in _PLAIN]
        depth = at + 2 - len(above)
        folder = "/".join(inner[:depth]) if depth > 0 else (None if depth < 0 else "")
        return Home(_name(project, "project"), _name("_".join(rest) or project, "experiment"), folder)
    plain = [name for name in names if name not in _PLAIN] or ["experiment"]
    return Home(_name(plain[-2] if len(plain) > 1 else plain[-1], "project"), _name(plain[-1], "experiment"), None)


def _name(text: str, default: str) -> str:
    return layout.name_from(shown(text), default)
