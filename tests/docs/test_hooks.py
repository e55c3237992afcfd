"""docs/hooks.md is fresh and complete, and every hook is implemented somewhere in the tests."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from custody.hookspecs import SPECS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
HOOKS = {name: getattr(spec, name) for spec in SPECS for name in vars(spec) if not name.startswith("_")}


def _sources() -> str:
    files = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py"), *ROOT.glob("plugins/*/tests/**/*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_the_page_is_fresh() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate_hooks.py", "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr


def test_a_stale_page_is_noticed(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs" / "generate_hooks.py", tmp_path)
    command = [sys.executable, tmp_path / "generate_hooks.py"]
    assert subprocess.run([*command, "--check"], capture_output=True, check=False).returncode == 1
    subprocess.run(command, check=True)
    assert (tmp_path / "hooks.md").read_text(encoding="utf-8") == PAGE
    (tmp_path / "hooks.md").write_text(PAGE.replace("Restrictions", "Restriction", 1), encoding="utf-8")
    assert subprocess.run([*command, "--check"], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_heading_with_its_exact_signature(hook: str) -> None:
    heading = re.search(rf"^### `{hook}\((.*)\) -> (.*)`$", PAGE, flags=re.MULTILINE)
    assert heading is not None
    stated = [part.partition(":")[0].strip() for part in re.split(r",(?![^\[]*\])", heading[1]) if part]
    signature = inspect.signature(HOOKS[hook])
    assert ["self", *stated] == list(signature.parameters)
    assert heading[2] == signature.return_annotation


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_described_in_four_parts(hook: str) -> None:
    section = PAGE.partition(f"### `{hook}(")[2].partition("\n## ")[0].partition("\n### ")[0]
    found = re.findall(r"^- \*\*(\w+)\*\*: \S", section, flags=re.MULTILINE)
    assert found == ["When", "Parameters", "Results", "Restrictions"]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_exercised(hook: str) -> None:
    assert re.search(rf"@hookimpl[^\n]*\n\s+def {hook}\(", _sources()), f"no plugin in the tests implements {hook}"
