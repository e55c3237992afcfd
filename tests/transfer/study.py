"""Small sessions for tests of copies: a real one, by an SDK that answers in this process."""

from __future__ import annotations

import os
from pathlib import Path

from echo_sdk import EchoClient, EchoTransport

import custody


def study(root: Path, *, calls: int = 4, experiment: str = "E", large: int = 0) -> Path:
    """A finished session with results, bound to a framework. ``large``: bytes of one of its results."""
    root.mkdir(parents=True, exist_ok=True)
    framework = root / "framework.md"
    framework.write_text("by which framework")
    with custody.session("P", experiment, root=root, new=True, framework=framework) as session:
        client = EchoClient(transport=EchoTransport())
        for number in range(calls):
            with session.scope(run=number):
                client.say(f"question {number}")
        session.results.individual("one.json", {"score": 1})
        if large:
            (session.path / "analysis_results" / "aggregated_data" / "large.bin").write_bytes(os.urandom(large))
        assert isinstance(session.path, Path)
        return session.path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def without_carried(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without what a copy brings besides."""
    return {name: data for name, data in files.items() if not name.startswith("system_state/project_chronolog-")}
