"""The story: three starts of one command, and what each of them paid."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from custody import layout
from custody.cli.console import print_table, safe
from custody.errors import UsageError
from custody.integrity import chronolog
from custody.report.cost import shown
from custody.report.stored import StoredSession
from custody.report.verify import verify
from custody.testing.simulator import Simulator

DOCUMENTS, RUNS, KILL_AFTER = 8, 6, 46
CALLS = DOCUMENTS * RUNS
BUG, FIX = "parsed = text\n", "parsed = json.loads(text)\n"

_SPEECH = (
    "Speech {n}. Friends, the harbour of this town was built by those who work in it. "
    "They were told to wait, and they waited for {n} years. We will count every promise, and we will keep ours."
)


# The simulator sends no bill: what it answers is priced as if OpenAI had.
_RATES = """[vendors]
"127.0.0.1" = "openai"

[[rates]]
vendor = "openai"
model = "gpt-4o*"
source = "OpenAI's list price of November 2026"
input_mtok = "2.5"
cache_read_mtok = "1.25"
output_mtok = "10"
"""


@dataclass
class Start:
    """One start of the command. ``paid`` is what the simulated vendor counted during it."""

    what: str
    answers: int
    paid: int
    exit_code: int
    error: str


def tell(folder: str | None, latency: float) -> int:
    """Tell it; gives the exit code: 0 if every promise held."""
    if find_spec("openai") is None or find_spec("custody_openai") is None:
        raise UsageError("the demo calls the OpenAI SDK: pip install 'custody-openai[sdk]'")
    console = Console(highlight=False)
    root = Path(folder) if folder else Path(tempfile.mkdtemp(prefix="custody-demo-"))
    _prepare(root)
    console.print(
        f"\n[bold]An experiment[/]: {DOCUMENTS} speeches, {RUNS} analyses of each with the very same prompt, "
        f"then a table.\nThe vendor is a simulator on this machine: it answers differently every time and counts.\n"
    )
    with Simulator(latency=latency) as vendor:
        starts = [
            _start(console, vendor, root, "1  the process is killed after 46 answers", kill_after=KILL_AFTER),
            _start(console, vendor, root, "2  the same command again; stage two has a bug"),
        ]
        script = root / "study.py"
        script.write_text(script.read_text("utf-8").replace(BUG, FIX), "utf-8")
        console.print(f"     [dim]the bug is mended: [/]{BUG.strip()}[dim] becomes [/]{FIX.strip()}\n")
        starts.append(_start(console, vendor, root, "3  the same command again, bug mended"))
        by_body = vendor.by_body()
        paid = vendor.paid()
    return _sum_up(console, root, starts, by_body, paid)


def _prepare(root: Path) -> None:
    try:
        (root / "corpus").mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"{root}: the demo needs a folder of its own: {error.strerror}") from error
    for number in range(1, DOCUMENTS + 1):
        (root / "corpus" / f"speech_{number:02d}.txt").write_text(_SPEECH.format(n=number), "utf-8")
    study = Path(__file__).with_name("study.py").read_text("utf-8")
    (root / "study.py").write_text(study, "utf-8")
    (root / "rates.toml").write_text(_RATES, "utf-8")


def _start(console: Console, vendor: Simulator, root: Path, what: str, *, kill_after: int = 0) -> Start:
    """Run the command once, with a bar that follows its answers."""
    console.print(f"[bold]{what}[/]")
    console.print("   [dim]$ custody run --project MVA --experiment experiment_2 -- python study.py[/]")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CUSTODY_")}
    environment |= {"CUSTODY_RATES": str(root / "rates.toml"), **vendor.env()}
    environment |= {"DEMO_KILL_AFTER": str(kill_after), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "custody.cli", "run", "--project", "MVA", "--experiment", "experiment_2",
               "--", "python", "study.py"]  # fmt: skip
    before, answers = vendor.paid(), 0
    with tempfile.TemporaryFile("w+") as errors:
        with _bar(console) as bar:
            task = bar.add_task("answers", total=CALLS)
            child = subprocess.Popen(  # noqa: S603
                command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith("answer "):
                    answers += 1
                    bar.update(task, completed=answers)
            code = child.wait()
        errors.seek(0)
        said = [line.rstrip() for line in errors if line.strip()]
    error = next((line for line in reversed(said) if "Error:" in line), "")
    for line in said:
        if line.startswith("custody:"):
            console.print(f"   [dim]{escape(safe(line))}[/]", soft_wrap=True, markup=True)
    if error:
        console.print(f"   [red]{escape(safe(error))}[/]")
    console.print()
    return Start(what, answers, vendor.paid() - before, code, error)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("  "), BarColumn(bar_width=40), MofNCompleteColumn(), TextColumn("answers"), TimeElapsedColumn(),
        console=console,
    )  # fmt: skip


def _sum_up(console: Console, root: Path, starts: list[Start], by_body: dict[str, int], paid: int) -> int:
    path = layout.sessions_of(layout.experiment_path(root, "MVA", "experiment_2"))[-1]
    stored = StoredSession(path)
    status = stored.status()
    verdict = verify(stored.storage)
    bodies = {call.response.raw for call in stored.calls() if call.response is not None}
    print_table(
        ("start", "answers in the program", "replayed", "sent and paid"),
        [(s.what, s.answers, s.answers - s.paid, s.paid) for s in starts],
    )
    asked = sum(s.answers for s in starts)
    again = sum(s.answers - s.paid for s in starts)
    console.print(
        f"Without custody the three starts would have paid for {asked} calls; {paid} were paid for, "
        f"{again} replayed.\n",
        soft_wrap=True,
    )
    checks = [
        (
            "the killed start ended by SIGKILL after 46 answers",
            starts[0].answers == KILL_AFTER and starts[0].exit_code == 137,
        ),
        ("stage two failed on the bug, and lost nothing", "'str' object has no attribute 'get'" in starts[1].error),
        (f"the vendor saw {CALLS} requests in all: no paid request twice", paid == CALLS),
        (f"each of the {DOCUMENTS} prompts was sent {RUNS} times", sorted(by_body.values()) == [RUNS] * DOCUMENTS),
        (f"the {CALLS} archived answers are {CALLS} different answers", len(bodies) == CALLS == status["answers"]),
        ("the finished start sent nothing", starts[2].paid == 0 and starts[2].exit_code == 0),
        ("custody verify finds the session sound", verdict.sound),
        ("every call has a price", not status["cost_unknown"] and status["cost_usd"] is not None),
    ]
    for text, held in checks:
        console.print(f"  {'[green]held[/]  ' if held else '[red]BROKEN[/]'}  {text}")
    console.print("\nThe files, each with one purpose:")
    for entry in stored.storage.list():
        if not entry.name.endswith(".lock"):
            console.print(f"  {entry.size:>8}  {escape(safe(entry.name))}")
    console.print(f"\n  {escape(safe(path))}", soft_wrap=True)
    console.print(f"  Look around:  custody calls {escape(safe(path))}\n", soft_wrap=True)
    console.print(_what_it_would_have_cost(stored, status), soft_wrap=True)
    return 0 if all(held for _, held in checks) else 1


def _what_it_would_have_cost(stored: StoredSession, status: dict[str, Any]) -> str:
    """What each start would have paid for again, at the prices on the call lines."""
    if status["cost_usd"] is None:
        return f"In money: {status['cost']}.\n"
    price = {call.id: Decimal(call.fields["cost"]["cost_usd"] or 0) for call in stored.calls()}
    again = [Decimal(0)]
    for event in chronolog.read(stored.storage.read(layout.CHRONOLOG)):
        if event["event"] == "session_resume":
            again.append(Decimal(0))
        elif event["event"] == "llm_call_replayed":
            again[-1] += price.get(str(event.get("call_id")), Decimal(0))
    crash, bug = again[1], sum(again[2:], Decimal(0))
    return (
        f"[bold]In money[/], at OpenAI's list price of November 2026 for these tokens: {status['cost']} paid, once.\n"
        f"Without custody the crash would have cost [bold]{shown(crash)}[/] more, and the bug {shown(bug)} more: "
        f"{shown(Decimal(status['cost_usd']) + crash + bug)} in all for the same {CALLS} answers.\n"
    )
