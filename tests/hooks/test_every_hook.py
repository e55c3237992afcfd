"""One plugin implements every hook, in a real session: what each is given, and in which order."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from echo_sdk import EchoClient, EchoTransport

import custody
from custody.cli.main import cli, main
from custody.hookspecs import SPECS
from custody.journal import lines
from custody.plugin import (
    CallSeam,
    Claim,
    CustodyError,
    Doubt,
    Exchange,
    Forensics,
    Identity,
    Price,
    Questions,
    Replay,
    RequestHead,
    ResponseHead,
    Storage,
    Vendor,
    found,
    hookimpl,
)
from custody.report.verify import verify
from custody.sessions import process
from custody.storage.local import LocalStorage

HOOKS = {name for spec in SPECS for name in vars(spec) if not name.startswith("_")}

Calls = list[tuple[str, dict[str, Any]]]


class Recorder:
    """Notes every hook with its arguments; answers None, unless a test gives ``answers``."""

    calls: Calls = []  # noqa: RUF012
    answers: dict[str, Any] = {}  # noqa: RUF012

    def _note(self, hook: str, **arguments: Any) -> Any:
        self.calls.append((hook, arguments))
        answer = self.answers.get(hook)
        return answer(**arguments) if callable(answer) else answer

    @hookimpl
    def vendor(self) -> Vendor | None:
        return self._note("vendor")

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        return self._note("claim_exchange", request=request)

    @hookimpl
    def session_opened(self, session: Any) -> None:
        self._note("session_opened", session=session)

    @hookimpl
    def before_send(self, identity: Identity, request: RequestHead, labels: Any, body: bytes) -> Replay | None:
        return self._note("before_send", identity=identity, request=request, labels=labels, body=body)

    @hookimpl
    def reconcile_call(self, doubt: Doubt) -> Questions | None:
        return self._note("reconcile_call", doubt=doubt)

    @hookimpl
    def exchange_durable(self, exchange: Exchange, record: Any) -> None:
        self._note("exchange_durable", exchange=exchange, record=record)

    @hookimpl
    def session_closed(self, session: Any) -> None:
        self._note("session_closed", session=session)

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return self._note("extract_forensics", exchange=exchange)

    @hookimpl
    def check_budget(self, identity: Identity, request: RequestHead, exchange: Exchange) -> None:
        self._note("check_budget", identity=identity, request=request, exchange=exchange)

    @hookimpl
    def price_call(self, forensics: Forensics, operation: str, exchange: Exchange) -> Price | None:
        return self._note("price_call", forensics=forensics, operation=operation, exchange=exchange)

    @hookimpl
    def stage_started(self, session: Any, stage: str) -> None:
        self._note("stage_started", session=session, stage=stage)

    @hookimpl
    def stage_completed(self, session: Any, stage: str) -> None:
        self._note("stage_completed", session=session, stage=stage)

    @hookimpl
    def state_codecs(self) -> Any:
        return self._note("state_codecs")

    @hookimpl
    def state_save(self, session: Any, name: str, state: bytes) -> bool | None:
        return self._note("state_save", session=session, name=name, state=state)

    @hookimpl
    def state_load(self, session: Any, name: str) -> bytes | None:
        return self._note("state_load", session=session, name=name)

    @hookimpl
    def resumed(self, session: Any, report: Any) -> None:
        self._note("resumed", session=session, report=report)

    @hookimpl
    def open_storage(self, url: str, create: bool) -> Storage | None:
        return self._note("open_storage", url=url, create=create)

    @hookimpl
    def redaction_patterns(self) -> list[tuple[str, str]] | None:
        return self._note("redaction_patterns")

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        self._note("register_commands", cli=cli)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[type[Recorder]]:
    """The plugin, installed as a distribution of its own beside echo's."""
    info = tmp_path / "site" / "every_hook-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: every-hook\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\nevery = every_hook:Recorder\n")
    module = ModuleType("every_hook")
    module.Recorder = Recorder  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "every_hook", module)
        patch.syspath_prepend(str(info.parent))
        patch.setenv("CUSTODY_PLUGINS", "echo,every")
        patch.setattr(Recorder, "calls", [])
        patch.setattr(Recorder, "answers", {})
        patch.setattr(cli, "commands", {})
        patch.setattr(cli, "params_asked", False)
        yield Recorder


@pytest.fixture
def transport() -> EchoTransport:
    return EchoTransport()


def _names(calls: Calls) -> list[str]:
    return [name for name, _ in calls]


def _given(calls: Calls, hook: str) -> list[dict[str, Any]]:
    return [arguments for name, arguments in calls if name == hook]


def test_the_order_of_hooks_in_a_call(recorder: type[Recorder], transport: EchoTransport, root: Path) -> None:
    client = EchoClient(transport=transport)
    with custody.session("P", "E", root=root):
        recorder.calls.clear()
        client.say("hello")
        sent = _names(recorder.calls)
    assert sent == [
        "claim_exchange",
        "before_send",
        "before_send",  # once more, when the identity is claimed
        "check_budget",
        "extract_forensics",
        "price_call",
        "exchange_durable",
    ]
    assert len(transport.requests) == 1


def test_the_order_of_hooks_in_a_streamed_and_in_a_retried_call(recorder: type[Recorder], root: Path) -> None:
    with custody.session("P", "E", root=root):
        stream = EchoClient(transport=EchoTransport()).stream("one two")
        assert next(stream) == "one"
        before_the_end = _names(recorder.calls)
        assert "exchange_durable" not in before_the_end
        list(stream)
        assert _names(recorder.calls)[len(before_the_end) :] == ["extract_forensics", "price_call", "exchange_durable"]
        recorder.calls.clear()
        EchoClient(transport=EchoTransport(failures=(503, 503))).say("busy")
    # Each attempt is claimed; the call is looked up, allowed, read and archived once.
    wanted = ["claim_exchange", "before_send", "before_send", "check_budget", "claim_exchange", "claim_exchange"]
    assert _names(recorder.calls)[: len(wanted)] == wanted
    assert _names(recorder.calls)[len(wanted) :] == [
        "extract_forensics",
        "price_call",
        "exchange_durable",
        "session_closed",
    ]


def test_every_hook_is_called_with_what_it_promises(
    recorder: type[Recorder], transport: EchoTransport, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = EchoClient(transport=transport, api_key="a-secret-key-1")
    recorder.answers = {
        "vendor": Vendor("no-such-sdk", (CallSeam("no_such_sdk", "Client.call", "sync"),)),
        "redaction_patterns": [("hush-", "hush-[a-z]+")],
        "register_commands": lambda cli: cli.add_command(click.Command("hello", callback=lambda: click.echo("hi"))),
    }
    with custody.session("P", "E", root=root) as first, first.stage("analysis"), first.scope(run=3):
        client.say("hush-please")
    calls = recorder.calls
    opening = ["vendor", "redaction_patterns", "open_storage"]
    assert [name for name in _names(calls) if name in opening][:3] == opening
    assert _names(calls)[0] == "vendor"
    assert _names(calls)[-1] == "session_closed"

    assert {(a["url"], a["create"]) for a in _given(calls, "open_storage")} == {(str(first.path), True)}
    (opened,), (closed,) = _given(calls, "session_opened"), _given(calls, "session_closed")
    for given in (opened, closed):
        assert (given["session"]["session"], given["session"]["path"]) == (first.id, str(first.path))
        assert given["session"]["resumed"] is False
        assert {plugin["name"] for plugin in given["session"]["plugins"]} >= {"echo", "every"}

    for (stage,) in (_given(calls, "stage_started"), _given(calls, "stage_completed")):
        assert stage["stage"] == "analysis"
        assert stage["session"]["session"] == first.id
    assert {load["name"] for load in _given(calls, "state_load")} == {"stage_1_analysis_complete.json"}
    (save,) = _given(calls, "state_save")
    assert save["name"] == "stage_1_analysis_complete.json"
    assert b'"analysis"' in save["state"]

    request = _given(calls, "claim_exchange")[0]["request"]
    assert (request.method, request.url, request.sdk) == ("POST", "https://api.echo.example/v1/echo", "echo")
    read_body = _given(calls, "extract_forensics")[0]["exchange"].request_body
    looks, (budget,) = _given(calls, "before_send"), _given(calls, "check_budget")
    assert budget.pop("exchange").request_json["text"] == "hush-please"
    asked = {"labels": {"run": 3, "stage": "analysis"}, "body": read_body}
    assert looks == [{**budget, **asked}] * 2
    assert len(budget["identity"].scope) == 64
    assert budget["identity"].replicate == 1
    assert len(budget["identity"].key) == 64

    (read,), (priced,), (durable,) = (_given(calls, h) for h in ("extract_forensics", "price_call", "exchange_durable"))
    assert read["exchange"].succeeded
    assert read["exchange"].claim.plugin == "echo"
    assert read["exchange"].response_json["text"] == "hush-please"
    assert priced["operation"] == "echo"
    assert priced["forensics"].findings["actual_model"].value == "echo-1-2026-01-15"
    assert durable["exchange"] is read["exchange"]
    assert durable["record"]["scope"] == {"run": 3, "stage": "analysis"}
    assert durable["record"]["request_key"] == budget["identity"].key
    archive = b"".join(path.read_bytes() for path in first.path.rglob("*.jsonl"))
    assert b"hush-please" not in archive
    assert b"[REDACTED]" in archive

    first_start = list(calls)
    calls.clear()
    _lose_a_second_call(first.path)
    with (
        custody.session("P", "E", root=root, session=first.id, on_in_doubt="reconcile") as second,
        second.stage("analysis"),
        second.scope(run=3),
    ):
        client.say("hush-please")
        assert len(transport.requests) == 1
        client.say("hush-please")
    assert len(transport.requests) == 2, "nobody found the answer of the call in doubt"
    (asked,) = _given(calls, "reconcile_call")
    assert (asked["doubt"].claim.operation, asked["doubt"].rivals, asked["doubt"].arrived) == ("echo", 1, (None, b""))
    assert asked["doubt"].sent < asked["doubt"].until
    names = _names(calls)
    assert names.index("session_opened") < names.index("resumed") < names.index("stage_started")
    (resumed,) = _given(calls, "resumed")
    assert (resumed["report"]["answers"], len(resumed["report"]["in_doubt"])) == (1, 1)
    assert resumed["session"]["resumed"] is True
    replayed = ["claim_exchange", "before_send"]
    sent_again = [*replayed, "before_send", "check_budget", "reconcile_call", "extract_forensics", "exchange_durable"]
    assert [name for name in names if name in set(sent_again)] == [*replayed, *sent_again]

    with pytest.raises(SystemExit) as stopped:
        main(["hello"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == "hi\n"
    assert _given(calls, "register_commands")[0]["cli"] is cli
    assert _given(first_start, "state_codecs") == [{}]
    assert set(_names(first_start)) | set(_names(calls)) == HOOKS


def _lose_a_second_call(path: Path) -> None:
    """Leave what a killed process leaves: a request like the first, without an outcome."""
    (segment,) = (path / "llm_archive").iterdir()
    first = next(line for line in segment.read_bytes().splitlines() if line.startswith(b'{"kind":"request"'))
    writer = "20260101T000000-0badcafe"
    fields = {k: v for k, v in json.loads(first).items() if k not in ("kind", "seq", "crc32")}
    fields |= {"exchange": f"{writer}-000001.1", "call": f"{writer}-000001", "replicate": 2}
    lost = lines.opening(path.name, writer, 1) + lines.seal(lines.unsealed("request", 1, fields))
    (path / "llm_archive" / f"{writer}-000001.jsonl").write_bytes(lost)


def test_what_hooks_answer_is_used(recorder: type[Recorder], transport: EchoTransport, root: Path) -> None:
    body = b'{"model": "m", "text": "from elsewhere", "serial": 0}'
    head = ResponseHead(200, "OK", "HTTP/1.1", (("content-type", "application/json"),))
    kept: dict[str, bytes] = {}

    def keep(session: Any, name: str, state: bytes) -> bool:
        kept[name] = state
        return True

    recorder.answers = {
        "before_send": lambda identity, **_: Replay("elsewhere-1", head, (body,)) if identity.replicate == 1 else None,
        "extract_forensics": lambda exchange: Forensics({"deployment_region": found("eu", "url", "host")}),
        "price_call": lambda forensics, operation, exchange: Price(None, "tier_unpriced"),
        "state_save": keep,
    }
    client = EchoClient(transport=transport)
    with custody.session("P", "E", root=root) as session, session.stage("analysis"):
        assert client.say("hello").text == "from elsewhere"
        assert transport.requests == []
        assert client.say("hello").text == "hello"
    (call,) = custody.open(session.path).calls()
    assert call.model_forensics["deployment_region"] == "eu"
    assert call.model_forensics["actual_model"] == "echo-1-2026-01-15", "echo's findings are merged with it"
    assert call.fields["evidence"]["cost_usd"] == "unknown:tier_unpriced"
    assert list(kept) == ["stage_1_analysis_complete.json"]
    assert not list((session.path / "system_state").glob("stage_*")), (
        "the built-in keeps nothing that a plugin has kept"
    )


def test_a_budget_stops_a_call_before_money_is_spent(
    recorder: type[Recorder], transport: EchoTransport, root: Path
) -> None:
    def refuse(identity: Identity, request: RequestHead, exchange: Exchange) -> None:
        raise CustodyError("the budget is spent")

    recorder.answers = {"check_budget": refuse}
    with custody.session("P", "E", root=root) as session:
        with pytest.raises(CustodyError, match="the budget is spent"):
            EchoClient(transport=transport).say("hello")
        recorder.answers = {}
        assert EchoClient(transport=transport).say("hello").text == "hello"
    assert len(transport.requests) == 1
    assert [call.fields["replicate"] for call in custody.open(session.path).calls()] == [1]


def test_a_hook_that_fails_at_the_end_writes_nothing_behind_it(
    recorder: type[Recorder], transport: EchoTransport, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(session: Any) -> None:
        raise RuntimeError("at the end")

    recorder.answers = {"session_closed": fail}
    with custody.session("P", "E", root=root) as session:
        installed = process.current()
        assert installed is not None
        installed.hooks.raise_errors = False
        EchoClient(transport=transport).say("hello")
    assert "every failed in session_closed" in caplog.text
    assert len(list((session.path / "llm_archive").glob("*.jsonl"))) == 1
    assert verify(LocalStorage(session.path, create=False)).sound
