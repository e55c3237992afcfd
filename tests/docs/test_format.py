"""docs/format.md names every field that is on disk and none that is not, and its commands do what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)

OPEN = ("packages", "scope", "parameters", "header_digests", "evidence", "usage.raw", "entries",
        "in_doubt[].scope", "annotations", "plans[].scope", "plans[].conditions", "plans[].pending[]")  # fmt: skip
"""Objects whose members are no fields of the format."""

# A plugin that says everything a plugin can say, fails in one hook, and whose storage can be made to fail.
PLUGIN = """
import errno
import os
from pathlib import Path

from custody import cost
from custody.builtin.cost import as_price
from custody.plugin import CallSeam, Forensics, Found, Replay, Usage, Vendor, found, hookimpl
from custody.record import RESPONSE_FIELDS
from custody.storage.local import LocalStorage


class Storage(LocalStorage):
    full = False

    def create_log(self, name):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        log = super().create_log(name)
        append = log.append

        def limited(data):
            if Storage.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            append(data)

        log.append = limited
        return log


class Plugin:
    @hookimpl
    def vendor(self):
        return Vendor("wide", (CallSeam("wide_sdk", "ask", "sync", client=(), mixed=True),))

    @hookimpl
    def open_storage(self, url, create):
        return Storage(Path(url), create=create)

    @hookimpl
    def reconcile_call(self, doubt):
        told = yield doubt.request.url
        return Found(told, "shelf", "id-1") if b"kill 1" in doubt.body else "nothing is there"

    @hookimpl
    def price_call(self, forensics, exchange):
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        asked = {"vendor": "openai", "api": "chat", "model": "gpt-5.4", "usage": usage}
        if b"whole" in exchange.request_body:
            return as_price(cost.price(**asked, date="2026-11-01", region="eu"))
        if b"binary" in exchange.request_body:
            return as_price(cost.price(**asked, date="2026-11-01", rates=cost.load(os.environ["RATES"])))

    @hookimpl
    def extract_forensics(self, exchange):
        if b"fail" in exchange.request_body:
            raise LookupError("on purpose")
        return Forensics({name: found("1", "derived", "test") for name in RESPONSE_FIELDS}, {"temperature": 0.5})
"""

# An SDK that falls back to another vendor, and whose plugin keeps a word of its own.
SDK = """
from custody.plugin import current_call


def ask(*clients):
    current_call().annotate("chosen", "the last")
    for client in clients:
        try:
            return client.say("fall back")
        except Exception as error:
            print(type(error).__name__)
"""

RATES = """
[[rates]]
vendor = "openai"
model = "gpt-5.4"
source = "a contract"
input_mtok = "2"
output_mtok = "12"
"""

STUDY = """
import os, signal, subprocess, sys, threading
import httpx2
import custody
import wide_sdk
from echo_sdk import EchoClient, EchoTransport
from echo_sdk.transport import _Bytes
from wide_plugin import Storage

part, root = sys.argv[1:]


class Transport(EchoTransport):
    def _answer(self, content):
        if not content:
            return httpx2.Response(200, stream=_Bytes([b'{"model": "echo-1", "text": "found", "serial": 0}']))
        if b"kill" in content and part == "first":
            os.kill(os.getpid(), signal.SIGKILL)
        if b"drop" in content:
            raise httpx2.ConnectError("refused")
        if b"binary" in content:
            return httpx2.Response(200, stream=_Bytes([b"\\xff\\xfe"]))
        if b"together" in content:
            both.wait(timeout=20)
        return super()._answer(content)


client = EchoClient(transport=Transport())
both = threading.Barrier(2)


def attempt(action):
    try:
        return action()
    except Exception as error:
        print(type(error).__name__, error)


if part == "strict":
    with custody.session("P", "E", root=root, session=os.environ["SESSION"], strict=True):
        attempt(lambda: client.say("was never asked"))
    sys.exit(0)

named = {} if os.environ.get("CUSTODY_SESSION") else {"corpus": "corpus", "framework": "f.md", "definition": "e.md"}
if part == "donor":
    with custody.session("Q", "E", root=root) as session, session.scope(lent=1):
        client.say("lent")
    sys.exit(0)

reuse = os.environ.get("DONOR") or None
doubt = "reconcile" if part == "doubt" else None
with custody.session("P", "E", root=root, accept=("outside",), reuse=reuse, on_in_doubt=doubt, **named) as session:
    if part == "first":
        session.step(len)([])
        for item in session.plan(["a"], conditions=["x"]):
            break
        for item in session.plan(["a"], conditions=["x"]):
            pass
        with session.stage("analysis", inputs="as it was"), session.scope(run=1):
            client.say("whole")
            EchoClient(transport=EchoTransport((503,))).say("tried again")
            list(client.stream("a stream"))
            for word in client.stream("left early"):
                break
        wide_sdk.ask(EchoClient(transport=EchoTransport((503,) * 9)), client)
        attempt(lambda: client.say("drop"))
        attempt(lambda: client.say("binary"))
        attempt(lambda: client.request({"model": "echo-1", "text": "binary"}, stream=True).read())
        attempt(lambda: client.request({"model": "\\udcff", "text": "binary"}, stream=False))
        client._client.post("/v1/echo", content=b"\\xff binary")
        client.say("fail")
        threads = [threading.Thread(target=client.say, args=("together",)) for _ in range(2)]
        [thread.start() for thread in threads], [thread.join() for thread in threads]
        client.say("kill " + os.environ["LOST"])
    if part == "third":
        [subprocess.run([sys.executable, "study.py", "shared", root], check=True) for _ in range(2)]
    if part == "shared":
        client.say("asked by two processes")
        sys.exit(0)
    if part == "doubt":
        assert client.say("kill 1").text == "found"
        assert client.say("kill 2").text == "kill 2"
        sys.exit(3)
    if part == "second":
        with session.scope(lent=1):
            client.say("lent")
        with session.stage("analysis", inputs="changed"), session.scope(run=1):
            client.say("whole")
        with session.stage("analysis"):
            client.say("the second entry")
        Storage.full = True
        client.say("the disk is full")
        attempt(lambda: client.say("and this is not sent"))
        Storage.full = False
        client.say("there is space again")
        raise LookupError("the study's own error")
sys.exit(3)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one session that was killed, continued, failed and continued: it has every field there is."""
    home = tmp_path_factory.mktemp("format")
    info = home / "wide-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wide\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\nwide = wide_plugin:Plugin\n")
    (home / "wide_plugin.py").write_text(PLUGIN)
    (home / "wide_sdk.py").write_text(SDK)
    (home / "study.py").write_text(STUDY)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("CUSTODY_")}
    environ |= {"PYTHONPATH": str(home), "CUSTODY_SPILL_DIR": str(home / "spill")}
    environ["RATES"] = str(home / "rates.toml")
    (home / "rates.toml").write_text(RATES)
    custody = [sys.executable, "-c", "from custody.cli.main import main; main()"]
    under = [*custody, "run", "--root", "root", "--project", "P", "--experiment", "E", "--max-calls", "999", "--"]
    study = [sys.executable, "study.py"]

    def run(*command: str) -> int:
        ran = subprocess.run(command, cwd=home, env=environ, capture_output=True, text=True, check=False, timeout=120)
        print(ran.stdout, ran.stderr)
        return ran.returncode

    (home / "corpus").mkdir()
    for name in ("corpus/a.txt", "f.md", "e.md"):
        (home / name).write_text("as it was")
    repository = ("git", "-c", "user.name=n", "-c", "user.email=e")
    assert run("git", "init", "-q") == run("git", "add", ".") == run(*repository, "commit", "-qm", "all") == 0
    (home / "f.md").write_text("x" * 300_000)
    assert run(*study, "donor", "root") == 0
    (donor,) = (home / "root").glob("projects/Q/experiments/E/sessions/*")
    environ["LOST"] = "1"
    assert run(*study, "first", "root") == -signal.SIGKILL
    (home / "f.md").write_text("another")
    environ["DONOR"] = str(donor)
    assert run(*study, "second", "root") == 1
    environ["LOST"] = "2"
    assert run(*under, *study, "first", "root") == 128 + signal.SIGKILL
    assert run(*under, *study, "third", "root") == 3
    assert run(*study, "doubt", "root") == 3
    environ["LOST"] = "3"
    assert run(*study, "first", "root") == -signal.SIGKILL
    (session,) = (home / "root").glob("projects/P/experiments/E/sessions/*")
    environ["SESSION"] = session.name
    assert run(*study, "strict", "root") == 0
    assert run(*study, "strict", "root") == 0  # of a finished one
    assert run(*custody, "cost", "reprice", str(session)) == 0
    return home / "root"


@pytest.fixture(scope="module")
def session(root: Path) -> Path:
    (found,) = root.glob("projects/P/experiments/E/sessions/*")
    return found


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        yield json.loads(line)


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of an object's leaves; ``[]`` for the members of a list of objects."""
    if isinstance(value, dict) and path not in OPEN:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict) and f"{path}[]" not in OPEN:
        for inner in value:
            yield from _leaves(inner, f"{path}[]")
    else:
        yield path


def _fields(objects: Iterable[dict[str, Any]]) -> set[str]:
    found = {leaf for value in objects for leaf in _leaves(value)}
    # An object that is null or empty here and there is documented by its members.
    return {leaf for leaf in found if not any(other.startswith((f"{leaf}.", f"{leaf}[]")) for other in found)}


def _section(heading: str) -> str:
    assert f"{heading}\n" in PAGE, heading
    return re.split(r"^##", PAGE.partition(f"{heading}\n")[2], flags=re.MULTILINE)[0]


def _documented(heading: str, *, column: int = 0) -> set[str]:
    rows = [line.strip("|").split("|") for line in _section(heading).splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row[column])}


EVERY_LINE = {"kind", "seq", "crc32"}


@pytest.mark.parametrize("kind", ["segment", "request", "response", "chunk", "end", "call", "note"])
def test_every_field_of_a_line_is_documented_and_no_other(session: Path, kind: str) -> None:
    lines = [line for path in session.glob("llm_archive/*.jsonl") for line in _objects(path)]
    assert {line["kind"] for line in lines} == {"segment", "request", "response", "chunk", "end", "call", "note"}
    assert _documented("## A line of the archive") == EVERY_LINE
    assert _fields(line for line in lines if line["kind"] == kind) - EVERY_LINE == _documented(f"### `{kind}`")


def test_every_note_is_documented(session: Path) -> None:
    notes = {line["note"] for path in session.glob("llm_archive/*.jsonl") for line in _objects(path) if "note" in line}
    assert notes == {"unlabelled_replicates", "hook_failed", "archive_works_again", "shared_answer"}
    assert all(f"`{note}`" in _section("### `note`") for note in notes)


def test_every_event_is_documented(session: Path) -> None:
    events: dict[str, set[str]] = {}
    common = {"seq", "time", "event", "previous_sha256"}
    for event in _objects(session / "SESSION_CHRONOLOG.jsonl"):
        events.setdefault(event["event"], set()).update(event)
    documented: dict[str, set[str]] = {}
    for line in _section("## Chronologs").splitlines():
        cells = line.strip("|").split("|")
        if line.startswith("| `") and len(cells) == 3:
            for name in re.findall(r"`([^`]+)`", cells[0]):
                documented[name] = common | set(re.findall(r"`([^`]+)`", cells[1]))
    assert events == documented
    assert common <= _documented("## Chronologs")


def test_every_field_of_the_projects_chronolog_is_documented(root: Path) -> None:
    fields = {name for event in _objects(root / "projects/P/PROJECT_CHRONOLOG_P.jsonl") for name in event}
    common = {"seq", "time", "event", "previous_sha256"}
    assert fields - common == {"session_id", "project", "experiment", "outcome"}
    last = _section("## Chronologs").rpartition("In the project's chronolog")[2]
    assert fields - common <= set(re.findall(r"`([^`]+)`", last))


@pytest.mark.parametrize(
    ("heading", "pattern"),
    [
        ("### `system_state/session.json`", "system_state/session.json"),
        ("### `system_state/request_key.json`", "system_state/request_key.json"),
        ("### `system_state/stage_<n>_<name>_complete.json`", "system_state/stage_*_complete.json"),
        ("### `system_state/steps/<name>.json`", "system_state/steps/*.json"),
        ("### `system_state/environment_snapshot.json`", "system_state/**/environment*.json"),
        ("### `system_state/snapshots/experiment.json`", "system_state/snapshots/*[tks].json"),
        ("### `corpus_manifest.json`", "../../corpus_manifest.json"),
        ("### `system_state/chronolog_head.json`", "system_state/chronolog_head.json"),
        ("### `fault_recovery/resume_checkpoint.json`", "fault_recovery/resume_checkpoint.json"),
        ("### `fault_recovery/pending_work_queue.json`", "fault_recovery/pending_work_queue.json"),
        ("### `fault_recovery/strict_miss.json`", "fault_recovery/strict_miss.json"),
    ],
)
def test_every_field_of_the_other_files_is_documented(session: Path, heading: str, pattern: str) -> None:
    values = [json.loads(path.read_text()) for path in session.glob(pattern)]
    assert values
    assert _fields(values) == _documented(heading)


@pytest.mark.parametrize("name", ["budget.jsonl", "repriced_costs.jsonl"])
def test_every_field_of_the_ledgers_is_documented(session: Path, name: str) -> None:
    lines = list(_objects(session / "system_state" / name))
    assert lines and {field for line in lines for field in line} == _documented(f"### `system_state/{name}`")


def test_every_file_is_documented(session: Path) -> None:
    patterns = [
        re.sub(r"<[^>]+>", "[^/]+", re.escape(name).replace(r"\<", "<").replace(r"\>", ">"))
        for name in _documented("## The files")
    ]
    for path in session.rglob("*"):
        if path.is_file():
            name = path.relative_to(session).as_posix()
            assert any(re.fullmatch(pattern, name) for pattern in patterns), f"{name} is not in docs/format.md"


# -- the commands -------------------------------------------------------------------------------------


def _bash(command: str, session: Path) -> subprocess.CompletedProcess[str]:
    for tool in ("bash", "jq", "sha256sum", "python3"):
        if re.search(rf"\b{tool}\b", f"bash {command}") and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    command = f"set -o pipefail; {command}"
    return subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "SESSION": str(session)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documented_commands_find_a_sound_session_sound(session: Path, command: str) -> None:
    ran = _bash(command, session)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.strip()
    assert ran.stderr == ""


def _changed(session: Path, tmp_path: Path, pattern: str, old: bytes, new: bytes) -> Path:
    copy = shutil.copytree(session, tmp_path / session.name)
    path = next(path for path in sorted(copy.glob(pattern)) if old in path.read_bytes())
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    return copy


@pytest.mark.parametrize(
    ("number", "pattern", "old", "new"),
    [
        (0, "llm_archive/*.jsonl", b'"outcome":"success"', b'"outcome":"refused"'),
        (1, "llm_archive/*.jsonl", rb"\"text\":\"whole\"", rb"\"text\":\"holes\""),
        (2, "llm_archive/*.jsonl", b'{"text":"data: a', b'{"text":"data: b'),
        (3, "SESSION_CHRONOLOG.jsonl", b'"success":true', b'"success":null'),
    ],
)
def test_the_documented_commands_notice_a_change(
    session: Path, tmp_path: Path, number: int, pattern: str, old: bytes, new: bytes
) -> None:
    ran = _bash(COMMANDS[number], _changed(session, tmp_path, pattern, old, new))
    assert ran.returncode == 1, ran.stdout + ran.stderr


def test_the_documented_command_finds_what_is_in_doubt(session: Path) -> None:
    checkpoint = json.loads((session / "fault_recovery" / "resume_checkpoint.json").read_text())
    found = _bash(COMMANDS[-1], session).stdout.split()
    assert {doubt["call_id"] for doubt in checkpoint["in_doubt"]} <= set(found)
    assert found
