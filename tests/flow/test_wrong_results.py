"""Hooks that give what they may not: no answer is lost or sent unrecorded, and the plugin is named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from echo_sdk import EchoClient, EchoTransport

import custody
from custody.cli.main import cli, main
from custody.hooks.discovery import HOOKS
from custody.hooks.manager import PluginManager
from custody.hooks.results import CHECKS
from custody.hookspecs import SPECS
from custody.pipeline import outcome
from custody.plugin import Claim, CustodyError, Finding, Forensics, Price, Replay, Usage, Vendor, found
from custody.report.verify import verify
from custody.sessions import process
from custody.storage.local import LocalStorage

WRONG: list[Any] = ["word", 7, True, [object()], object(), b"bytes", {"a": 1}]
INNER = [
    ("extract_forensics", Forensics(["a"])),  # type: ignore[arg-type]
    ("extract_forensics", Forensics({"deployment_region": found(b"zz", "url", "host")})),  # type: ignore[arg-type]
    ("extract_forensics", Forensics(parameters={"x": object()})),
    ("extract_forensics", Forensics(usage=Usage("many", 3))),  # type: ignore[arg-type]
    ("extract_forensics", Forensics(outcome="wonderful")),  # type: ignore[arg-type]
    ("price_call", Price("lots")),  # type: ignore[arg-type]
    ("price_call", Price(Decimal("nan"))),
    ("before_send", Replay("c", "head", ("text",))),  # type: ignore[arg-type]
    ("claim_exchange", Claim("nobody", 5, None, "notcallable")),  # type: ignore[arg-type]
    ("vendor", Vendor(None, 5)),  # type: ignore[arg-type]
]
ASKED_IN_A_CALL = ("claim_exchange", "before_send", "extract_forensics", "price_call")


def _hook(name: str, function: Any) -> Any:
    parameters = function.__code__.co_varnames[1 : function.__code__.co_argcount]
    space: dict[str, Any] = {}
    exec(f"def {name}(self, {', '.join(parameters)}): return self.give({name!r})", space)
    return custody.hookimpl(space[name])


class Giver:
    """Gives in each hook what a test says; an exception is raised."""

    answers: dict[str, Any] = {}  # noqa: RUF012

    def give(self, hook: str) -> Any:
        answer = self.answers.get(hook)
        if isinstance(answer, BaseException):
            raise answer
        return answer


for _spec in SPECS:
    for _name, _function in vars(_spec).items():
        if _name in HOOKS:
            setattr(Giver, _name, _hook(_name, _function))


_load = PluginManager.load


def _quietly(environ: Any = None) -> PluginManager:
    made = _load(environ)
    made.raise_errors = False
    return made


@pytest.fixture
def giver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the plugin ``giver`` gives, which is installed beside echo's; its failures do not surface."""
    info = tmp_path / "site" / "giver-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: giver\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\ngiver = giver_plugin:Giver\n")
    module = ModuleType("giver_plugin")
    module.Giver = Giver  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "giver_plugin", module)
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.setenv("CUSTODY_PLUGINS", "echo,giver")
    monkeypatch.setattr(PluginManager, "load", _quietly)
    monkeypatch.setattr(Giver, "answers", {})
    monkeypatch.setattr(cli, "commands", {})
    monkeypatch.setattr(cli, "params_asked", False)
    return Giver.answers


@pytest.fixture
def transport() -> EchoTransport:
    return EchoTransport()


def study(root: Path, transport: EchoTransport, session: str | None = None) -> custody.Session:
    client = EchoClient(transport=transport)
    with custody.session("P", "E", root=root, session=session) as opened, opened.stage("analysis"):
        assert client.say("hello").text == "hello"
        assert list(client.stream("one two"))[:2] == ["one", "two"]
    return opened


def kept(root: Path, transport: EchoTransport, caplog: pytest.LogCaptureFixture) -> custody.StoredSession:
    """Runs a study and runs it again, which pays nothing; gives its archive, which is sound."""
    opened = study(root, transport)
    assert len(transport.requests) == 2
    study(root, transport, opened.id)
    assert len(transport.requests) == 2, "an answer that was paid for is paid for again"
    assert verify(LocalStorage(opened.path, create=False), deep=True).sound
    assert "internal failure" not in caplog.text
    assert "Traceback" not in caplog.text
    stored = custody.open(opened.path)
    assert [call.fields["outcome"] for call in stored.calls()] == ["success", "success"]
    return stored


@pytest.mark.parametrize("hook", sorted(HOOKS - {"redaction_patterns"}))
def test_a_wrong_type_loses_nothing_and_names_the_plugin(
    giver: dict[str, Any], transport: EchoTransport, root: Path, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    for number, value in enumerate(WRONG if hook in CHECKS else WRONG[:1]):  # what the others give is not used
        fine = {"state_save": True, "state_load": b"bytes"}.get(hook)
        giver[hook] = value
        caplog.clear()
        transport.requests.clear()
        process.uninstall()
        stored = kept(root / str(number), transport, caplog)
        asked = hook not in ("reconcile_call", "register_commands")
        named = f"plugin giver failed in {hook} with WrongResult (" in caplog.text
        assert named == (hook in CHECKS and asked and value is not fine and value != fine), value
        if hook in ("extract_forensics", "price_call"):
            assert stored.calls()[0].fields["hook_failures"] == [
                {"plugin": "giver", "hook": hook, "error": "WrongResult"}
            ]
        assert stored.calls()[0].model_forensics["actual_model"] == "echo-1-2026-01-15", "the others had their turn"


@pytest.mark.parametrize(("hook", "value"), INNER)
def test_a_wrong_type_within_is_that_hooks_failure(
    giver: dict[str, Any], transport: EchoTransport, root: Path, caplog: pytest.LogCaptureFixture, hook: str, value: Any
) -> None:
    giver[hook] = value
    stored = kept(root, transport, caplog)
    assert f"plugin giver failed in {hook} with WrongResult (" in caplog.text
    assert stored.calls()[0].model_forensics["actual_model"] == "echo-1-2026-01-15"


@pytest.mark.parametrize("hook", sorted(HOOKS - {"redaction_patterns"}))
def test_a_hook_that_exits_does_not_end_the_program(
    giver: dict[str, Any], transport: EchoTransport, root: Path, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    giver[hook] = SystemExit(4)
    kept(root, transport, caplog)
    if hook not in ("reconcile_call", "register_commands"):
        assert f"plugin giver failed in {hook} with SystemExit;" in caplog.text


@pytest.mark.parametrize("value", [SystemExit(4), "word", object(), CustodyError("no")])
def test_commands_are_asked_for_without_harm(
    giver: dict[str, Any], value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    giver["register_commands"] = value
    with pytest.raises(SystemExit) as stopped:
        main(["plugins", "--json"])
    assert stopped.value.code == 0
    assert '"giver"' in capsys.readouterr().out


@pytest.mark.parametrize("hook", ["vendor", "state_codecs"])
def test_who_cannot_say_what_it_is_is_listed_as_broken(giver: dict[str, Any], root: Path, hook: str) -> None:
    giver[hook] = 5
    study(root, EchoTransport())
    installed = process.current()
    assert installed is not None
    (plugin,) = [one for one in installed.hooks.found if one.name == "giver"]
    assert plugin.state == "broken"
    assert plugin.problem.startswith(f"{hook} failed with WrongResult (what it gave is an int")
    assert "\n" not in plugin.problem


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("secret", "it gave a str"),
        (5, "it gave an int"),
        ([("lit", "(")], "is no regular expression"),
        ([("a", "b", "c")], "no pair of texts"),
        ([("zebra", "z*")], "matches the empty text"),
        ([("", ".+")], "matches what custody itself writes"),
        (ValueError("sk-secret"), "it failed with ValueError"),
        (SystemExit(3), "it failed with SystemExit"),
    ],
)
def test_redaction_that_cannot_be_done_stops_the_start(
    giver: dict[str, Any], transport: EchoTransport, root: Path, capsys: pytest.CaptureFixture[str], value: Any,
    reason: str,
) -> None:  # fmt: skip
    giver["redaction_patterns"] = value
    with pytest.raises(custody.PluginError) as refused:
        study(root, transport)
    said = str(refused.value)
    assert said.startswith("plugin giver asks for redaction that cannot be done: ") and reason in said
    assert "\n" not in said and "sk-secret" not in said
    assert transport.requests == []
    assert not list(root.rglob("*.jsonl"))
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--root", str(root), "--project", "P", "--experiment", "E", "--", "true"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("custody: plugin giver asks for redaction")


def test_a_greedy_pattern_leaves_a_session_that_can_be_read(
    giver: dict[str, Any], transport: EchoTransport, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    giver["redaction_patterns"] = [("P", '"P.*')]
    opened = study(root, transport)
    study(root, transport, opened.id)
    assert len(transport.requests) == 2
    assert verify(LocalStorage(opened.path, create=False), deep=True).sound


def test_stream_end_that_fails_leaves_the_end_to_the_connection(
    giver: dict[str, Any], transport: EchoTransport, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, ends in enumerate((lambda event: "finished", lambda event: 1 / 0, lambda: None)):
        giver["claim_exchange"] = Claim("echo", "Echo", "echo", ends)  # type: ignore[arg-type]
        caplog.clear()
        transport.requests.clear()
        process.uninstall()
        kept(root / str(number), transport, caplog)
        assert "plugin echo failed in stream_end with" in caplog.text


def _broken(*given: object) -> Any:
    raise ZeroDivisionError("a defect")


def _unwritable(call: Any, *given: Any) -> dict[str, Any]:
    return {**_whole(call, *given), "annotations": {"x": object()}}


_whole = outcome.call_fields


@pytest.mark.parametrize(
    ("name", "defect", "error"),
    [
        ("merge", _broken, "ZeroDivisionError"),
        ("call_fields", _broken, "ZeroDivisionError"),
        ("call_fields", _unwritable, "TypeError"),
    ],
)
def test_an_answer_is_kept_where_no_whole_call_line_can_be_made(
    giver: dict[str, Any], transport: EchoTransport, root: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], name: str, defect: Callable[..., Any],
    error: str,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(outcome, name, defect)
        opened = study(root, transport)
    assert "internal failure in the making of the call line" in caplog.text
    assert len(transport.requests) == 2
    study(root, transport, opened.id)
    assert len(transport.requests) == 2, "an answer that was paid for is paid for again"
    assert verify(LocalStorage(opened.path, create=False), deep=True).sound
    stored = custody.open(opened.path)
    assert stored.archive.in_doubt() == []
    for call in stored.calls():
        assert (call.fields["bare"], call.fields["outcome"], call.fields["answers"]) == (error, "success", True)
        assert set(call.model_forensics.values()) == {None}
        assert call.fields["attempts"][0]["response_sha256"]
    for words in (["forensics"], ["cost"], ["verify", "--deep"], ["calls"], ["show"]):
        with pytest.raises(SystemExit) as stopped:
            main([*words, str(opened.path)])
        assert stopped.value.code == 0, capsys.readouterr().err


def test_ctrl_c_in_a_hook_keeps_the_answer_and_reaches_the_program(
    giver: dict[str, Any], transport: EchoTransport, root: Path
) -> None:
    giver["extract_forensics"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        study(root, transport)
    assert len(transport.requests) == 1
    giver.clear()
    (path,) = root.glob("projects/P/experiments/E/sessions/*")
    study(root, transport, path.name)
    assert len(transport.requests) == 2, "the first answer is replayed"


def test_half_a_surrogate_pair_is_printed_as_its_escape(
    giver: dict[str, Any], transport: EchoTransport, root: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    giver["extract_forensics"] = Forensics({"deployment_region": Finding("\ud800", "response_body:region")})
    stored = kept(root, transport, caplog)
    for words in (["forensics"], ["forensics", "--json"], ["cost", "--csv"]):
        with pytest.raises(SystemExit) as stopped:
            main([*words, str(stored.path)])
        assert stopped.value.code == 0
        capsys.readouterr().out.encode()
