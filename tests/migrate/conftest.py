"""Trees of older layouts, made for a test; what is made of them; and digests of a folder."""

from __future__ import annotations

import hashlib
import os
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from custody.migrate import apply, plan

Tree = Callable[[str], Path]
Migrated = Callable[[str], Path]

TREES = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("trees.py"))))


@pytest.fixture
def trees() -> SimpleNamespace:
    """What trees.py has."""
    return TREES


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """``tree("gen3b")``: a source of that generation."""

    def make(name: str) -> Path:
        source = tmp_path / f"old {name}"
        source.mkdir()
        made: Path = TREES.TREES[name](source)
        return made

    return make


@pytest.fixture
def migrated(tree: Tree, tmp_path: Path) -> Migrated:
    """``migrated("gen3b")``: a destination with that tree in it."""

    def make(name: str) -> Path:
        destination = tmp_path / f"new {name}"
        apply.apply(plan.make(tree(name)), destination)
        return destination

    return make


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """Every entry of a folder with what it is: a file's digest, mode and time, a link's target."""

    def of(root: Path) -> dict[str, str]:
        found = {}
        for where, folders, files in os.walk(root):
            for name in (*folders, *files):
                path = Path(where, name)
                stat = path.lstat()
                what = os.readlink(path) if path.is_symlink() else ""
                if path.is_file() and not path.is_symlink():
                    what = f"{hashlib.sha256(path.read_bytes()).hexdigest()} {stat.st_mtime_ns}"
                found[str(path.relative_to(root))] = f"{stat.st_mode} {what}"
        return found

    return of
