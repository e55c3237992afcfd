"""Results: written whole, and made again from the archive alone to the same byte."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

import custody
from custody.testing.simulator import Simulator
from tests.flow.conftest import Cli


class Frame(BaseModel):
    name: str
    score: Decimal


@dataclass
class Row:
    document: str
    when: date
    frames: list[Frame]


def test_what_can_be_written(root: Path) -> None:
    row = Row("a.txt", date(2026, 1, 2), [Frame(name="populism", score=Decimal("0.50"))])
    with custody.session("P", "E", root=root) as s:
        item = next(iter(s.plan(["über/a.txt"], runs=[3], conditions={"model": ["x-1"]}, progress=False)))
        path = s.results.individual(item, row)
        assert path == s.path / "analysis_results/individual_analyses/über/a.txt model x-1 run 3.json"
        assert json.loads(path.read_text()) == {
            "document": "a.txt", "when": "2026-01-02", "frames": [{"name": "populism", "score": "0.50"}]
        }  # fmt: skip
        rows = s.results.aggregated("scores.csv", [{"a": 1, "b": "x,y"}, {"a": 2, "c": "é"}])
        assert rows.read_text() == 'a,b,c\n1,"x,y",\n2,,é\n'
        assert s.results.aggregated("none.csv", []).read_text() == "", "no row is a result, too"
        assert s.results.final("report.md", "# Report\n").read_text() == "# Report\n"
        assert s.results.final("report", "text").name == "report.txt"
        assert s.results.final("figure.png", b"\x89PNG").read_bytes() == b"\x89PNG"
        assert s.results.final("report.md", "again").read_text() == "again"

        class Table:
            def to_csv(self, *, index: bool) -> str:
                return "a\n1\n"

        assert s.results.aggregated("table.csv", Table()).read_text() == "a\n1\n"
        wrong: list[tuple[str, Any, str]] = [
            ("x", object(), "holds a object"), ("x", float("nan"), "no word for"),
            ("../x", 1, "cannot be a folder's name"), ("/x", 1, "cannot be"), ("x.csv", 7, "made of rows"),
            ("", 1, "cannot be"),
        ]  # fmt: skip
        for name, value, said in wrong:
            with pytest.raises(custody.UsageError, match=said):
                s.results.final(name, value)
    assert not list(s.path.rglob(".tmp-*"))
    with pytest.raises(custody.UsageError, match="is closed"):
        s.results.final("x", 1)


STUDY = """
import json, os, sys
import openai
import custody

client = openai.OpenAI(max_retries=0)
with custody.session("P", "E", root=".", corpus="corpus/*.txt") as s:
    def analyse(item):
        messages = [{"role": "user", "content": item.text}]
        text = client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content
        s.results.individual(item, {"text": text})
        return text
    with s.stage("analysis"):
        texts = s.plan(runs=2).map(analyse, workers=4)
    s.results.aggregated("lengths.csv", [{"n": n, "length": len(text)} for n, text in enumerate(texts)])
    s.results.final("report.md", "\\n".join(texts) + os.environ.get("EXTRA", ""))
    if os.environ.get("ANOTHER"):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "never asked"}])
    if os.environ.get("CALL_HOME"):
        import socket
        socket.create_connection(("127.0.0.1", int(os.environ["CALL_HOME"])))
"""


def test_regenerate(sdk_env: Simulator, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "corpus").mkdir()
    for name in "abc":
        (tmp_path / "corpus" / f"{name}.txt").write_text(f"speech {name}")
    (tmp_path / "study.py").write_text(STUDY)
    subprocess.run([sys.executable, "study.py"], cwd=tmp_path, check=True, timeout=120)
    (session,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    paid = sdk_env.paid()

    ran = cli("regenerate", session.name)  # by the recorded command
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert f"{session.name}: 8 files are the same, 0 are not" in ran.stdout

    changed = cli("regenerate", session.name, "--", "python", "study.py", env={"EXTRA": "!", "ANOTHER": "1"})
    assert changed.returncode == 1
    assert "differs  final_deliverables/report.md: from byte" in changed.stdout
    assert "7 files are the same, 1 are not" in changed.stdout
    assert "ReplayMiss" in changed.stderr
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        home = cli("regenerate", "--json", session.name, "--", "python", "study.py", env={"CALL_HOME": port})
        listening.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listening.accept()
    assert home.returncode == 1
    assert "no network here" in home.stderr
    assert json.loads(home.stdout) == {"same": 8, "exit_code": 1, "differences": []}
    assert cli("regenerate", session.name, "--", "no-such-program").returncode == 2

    assert sdk_env.paid() == paid
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {p: d for p, d in after.items() if "__pycache__" not in p.parts} == before, "the session is only read"


def test_openai_answers_are_kept_as_they_are(sdk_env: Simulator, root: Path) -> None:
    """An SDK's own answer is a pydantic model: a step may return it."""
    client = openai.OpenAI()

    def study(s: custody.Session) -> Any:
        @s.step
        def ask(text: str) -> Any:
            return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])

        return ask("hello")

    with custody.session("P", "E", root=root) as s:
        first = study(s)
    sdk_env.stop()
    with custody.session("P", "E", root=root, session=s.id) as s:
        again = study(s)
    assert type(again) is type(first)
    assert again == first
    assert again.to_dict() == first.to_dict()
    events = (s.path / "SESSION_CHRONOLOG.jsonl").read_text()
    assert "llm_call_replayed" not in events, "it was not even asked for"
    client.close()
