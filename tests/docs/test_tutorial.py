"""docs/writing-a-plugin.md works as it stands: its code blocks make a package that does what the page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from custody.hooks import discovery

PAGE = (Path(__file__).parents[2] / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's package, installed as pip would leave it: a .dist-info folder beside the sources."""
    home = tmp_path_factory.mktemp("tutorial")
    files: dict[str, str] = defaultdict(str)
    for name, text in BLOCKS:
        files[name] += ("\n" if files[name] else "") + text
    assert set(files) == {
        "pyproject.toml",
        "src/custody_tutorial/plugin.py",
        "src/custody_tutorial/memory.py",
        "tests/test_contract.py",
        "tests/test_memory.py",
    }
    files["src/custody_tutorial/__init__.py"] = ""
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    info = home / "src" / "custody_tutorial-0.1.0.dist-info"
    info.mkdir()
    required = [f"Requires-Dist: {text}" for text in project["dependencies"]]
    required += [f'Requires-Dist: {text}; extra == "sdk"' for text in project["optional-dependencies"]["sdk"]]
    head = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        "Provides-Extra: sdk",
    ]
    (info / "METADATA").write_text("\n".join([*head, *required]) + "\n")
    points = "\n".join(f"{name} = {value}" for name, value in project["entry-points"]["custody"].items())
    (info / "entry_points.txt").write_text(f"[custody]\n{points}\n")
    return home


def _run(package: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CUSTODY_", "PYTEST_"))}
    clean |= {"PYTHONPATH": str(package / "src"), "CUSTODY_SPILL_DIR": str(package / "spill"), **environ}
    return subprocess.run(
        [sys.executable, *arguments], cwd=package, env=clean, capture_output=True, text=True, check=False, timeout=120
    )


def _plugins(package: Path, **environ: str) -> dict[str, dict[str, Any]]:
    command = "from custody.cli.main import main; main(['plugins', '--json'])"
    ran = _run(package, "-c", command, **environ)
    assert ran.returncode == 0, ran.stderr
    return {plugin["name"]: plugin for plugin in json.loads(ran.stdout)}


def test_custody_plugins_lists_both_as_loaded(package: Path) -> None:
    assert "CUSTODY_DISABLED_PLUGINS=echo custody plugins --json" in PAGE
    plugins = _plugins(package, CUSTODY_DISABLED_PLUGINS="echo")
    assert plugins["echo"]["state"] == "disabled"
    mine, memory = plugins["tutorial"], plugins["memory"]
    assert (mine["state"], mine["problem"], mine["version"]) == ("loaded", "", "0.1.0")
    assert mine["hooks"] == ["claim_exchange", "extract_forensics", "vendor"]
    assert (mine["sdk"], mine["sdk_state"]) == ("custody-echo", "will be patched")
    assert set(mine["sdk_known"].split(",")) == {">=0.1", "<1"}
    assert (memory["state"], memory["hooks"]) == ("loaded", ["open_storage"])


@pytest.mark.parametrize("test", ["tests/test_contract.py", "tests/test_memory.py"])
def test_the_tutorials_tests_pass(package: Path, test: str) -> None:
    ran = _run(
        package, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=.", test
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # What is in memory has no second process, no clock and no outage; a vendor's contract skips nothing.
    skipped = r", 12 skipped" if test == "tests/test_memory.py" else ""
    assert re.search(rf"^\d\d passed{skipped} in", ran.stdout, flags=re.MULTILINE), f"skipped: {ran.stdout}"


def test_a_contract_that_fails_says_why(package: Path) -> None:
    """Third parties see what was compared, not only that an assertion failed."""
    broken = (package / "tests" / "test_contract.py").read_text().replace("Usage(3, 3)", "Usage(3, 4)")
    (package / "tests" / "broken.py").write_text(broken)
    ran = _run(
        package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=.", "tests/broken.py"
    )
    assert ran.returncode == 1
    assert "{'output': 3} != {'output': 4}" in ran.stdout, ran.stdout


def test_the_switches_are_those_that_exist() -> None:
    documented = set(re.findall(r"^\| `(CUSTODY_\w+)`", PAGE, flags=re.MULTILINE))
    assert documented == set(re.findall(r"^(CUSTODY_\w+)", discovery.__doc__ or "", flags=re.MULTILINE))


def test_loading_the_tutorials_plugins_imports_no_sdk(package: Path) -> None:
    script = (
        "import sys; from custody.hooks.manager import PluginManager as M; M.load().vendors(); "
        "print('custody_tutorial.plugin' in sys.modules, 'echo_sdk' in sys.modules, 'httpx2' in sys.modules)"
    )
    assert _run(package, "-c", script, CUSTODY_PLUGINS="tutorial").stdout == "True False False\n"
