"""Small rooms: the design's limits on modules, and no drawer for everything."""

from __future__ import annotations

import statistics
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MODULES = [
    path
    for folder in ("src", "plugins")
    for path in (REPOSITORY / folder).rglob("*.py")
    if "tests" not in path.parts and ".venv" not in path.parts and "build" not in path.parts
]
SIZES = {path.relative_to(REPOSITORY).as_posix(): len(path.read_text().splitlines()) for path in MODULES}


def test_no_module_is_too_large() -> None:
    assert len(SIZES) > 60
    assert {name: size for name, size in SIZES.items() if size > 400} == {}


def test_the_median_module_is_small() -> None:
    assert statistics.median(size for size in SIZES.values() if size > 5) <= 150


def test_no_drawer_for_everything() -> None:
    assert not [name for name in SIZES if Path(name).stem in ("utils", "util", "helpers", "common", "misc")]


def test_every_dependency_has_a_lower_bound() -> None:
    import tomllib

    for path in (REPOSITORY / "pyproject.toml", *REPOSITORY.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        extras = [r for group in project.get("optional-dependencies", {}).values() for r in group]
        for requirement in (*project.get("dependencies", ()), *extras):
            assert ">=" in requirement, f"{path}: {requirement}"


def test_versions_are_in_lock_step() -> None:
    import tomllib

    found = {
        tomllib.loads(path.read_text())["project"]["version"]
        for path in (REPOSITORY / "pyproject.toml", *REPOSITORY.glob("plugins/*/pyproject.toml"))
    }
    assert len(found) == 1
