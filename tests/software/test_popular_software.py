"""Popular software built on the SDKs, unchanged under `custody run`: captured, and replayed with the vendor gone.

Each program runs in a process of its own against the simulator, with a home of its own for each run, so that no
cache of the software answers in place of the archive.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

import custody
from custody.testing.simulator import Simulator

BIN = Path(sys.executable).parent
PROGRAMS = Path(__file__).parent / "programs"
QUIET = {
    "CUSTODY_DISABLED_PLUGINS": "",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else `import litellm` asks the network for prices
    "LANGSMITH_TRACING": "false",
    "PYTHONHASHSEED": "0",
}


@dataclass(frozen=True)
class Software:
    """What is run: a command, in which {home} is a folder; the packages that it needs, with their oldest versions."""

    command: tuple[str, ...]
    needs: dict[str, str]
    plugins: frozenset[str] = frozenset({"openai"})
    environment: dict[str, str] = field(default_factory=dict)


def program(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(PROGRAMS / f"{name}.py"), *arguments)


def llm(*arguments: str) -> tuple[str, ...]:
    return (str(BIN / "llm"), *arguments)


BOTH = frozenset({"openai", "anthropic"})
LLM = {"llm": "0.36"}
CLAUDE = {**LLM, "llm-anthropic": "0.30"}
SOFTWARE = {
    "langchain-openai": Software(program("langchain_openai_chat"), {"langchain-openai": "1.7"}),
    "langchain-anthropic": Software(
        program("langchain_anthropic_chat"), {"langchain-anthropic": "1.7"}, frozenset({"anthropic"})
    ),
    "pydantic-ai": Software(program("pydantic_ai_agents"), {"pydantic-ai-slim": "2.38"}, BOTH),
    "instructor": Software(program("instructor_extraction"), {"instructor": "1.17"}, BOTH),
    "dspy": Software(program("dspy_program"), {"dspy": "3.4", "custody-litellm": "0"}, frozenset({"litellm"})),
    "dspy-without-custody-litellm": Software(  # litellm speaks to Anthropic itself: known by the wire alone
        program("dspy_program"), {"dspy": "3.4"}, frozenset({"openai"}), {"CUSTODY_DISABLED_PLUGINS": "litellm"}
    ),
    "llm": Software(llm("-m", "gpt-4o", "A river?"), LLM),
    "llm-whole": Software(llm("-m", "gpt-4o", "--no-stream", "-s", "Be brief.", "A river?"), LLM),
    "llm-schema": Software(llm("-m", "gpt-4o", "--schema", "name, length_km int", "A river?"), LLM),
    "llm-tools": Software(llm("-m", "gpt-4o", "-T", "llm_version", "--td", "Which version is it?"), LLM),
    "llm-embed": Software(llm("embed", "-m", "3-small", "-c", "A river."), LLM),
    "llm-anthropic": Software(llm("-m", "claude-sonnet-4.5", "A river?"), CLAUDE, frozenset({"anthropic"})),
    "inspect": Software(program("inspect_evaluation", "{home}"), {"inspect-ai": "0.3.285"}, BOTH),
}


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """A running vendor simulator."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def custody_run(sim: Simulator, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a piece of software under `custody run`, in a new home."""
    homes = iter(range(9))

    def run(software: Software, *options: str) -> subprocess.CompletedProcess[str]:
        home = tmp_path / f"home{next(homes)}"
        home.mkdir()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CUSTODY_")}
        environment |= {**QUIET, **sim.env(), "HOME": str(home), "DSPY_CACHEDIR": str(home), "LLM_USER_PATH": str(home)}
        command = [part.replace("{home}", str(home)) for part in software.command]
        names = ("--root", str(tmp_path), "--project", "P", "--experiment", "E")
        return subprocess.run(
            [str(BIN / "custody"), "run", *names, *options, "--", *command],
            env={**environment, **software.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
        )

    return run


def need(packages: dict[str, str]) -> None:
    """Skip where a package is not there, or is older than what was tried."""
    for name, oldest in packages.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed here: `make software` has it")
        if Version(found) < Version(oldest):
            pytest.skip(f"{name} {found} is older than {oldest}")


@pytest.mark.parametrize("name", SOFTWARE)
def test_captured_and_replayed(sim: Simulator, tmp_path: Path, custody_run: Any, name: str) -> None:
    software = SOFTWARE[name]
    need(software.needs)
    first = custody_run(software, "--new")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "answer 0000" in first.stdout or "embed" in name
    (session,) = tmp_path.rglob("session_*")
    calls = custody.open(session).calls()
    # One software asks again over a connection that another event loop had left: an attempt for every request.
    assert sum(len(call.fields["attempts"]) for call in calls) == sim.count() > 0
    assert {call.fields["sdk"]["plugin"] for call in calls} - {None} == software.plugins
    assert all(call.success and call.fields["hook_failures"] == [] for call in calls)
    asked = sim.count()
    sim.stop()
    again = custody_run(software, "--session", session.name, "--strict")
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr[-3000:]
    assert sim.count() == asked and len(custody.open(session).calls()) == len(calls)
