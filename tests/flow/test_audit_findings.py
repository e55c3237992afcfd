"""What an auditor found by hand, so that it stays found."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

import custody
from custody.testing.simulator import Simulator

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
HELLO: Any = [{"role": "user", "content": "Hello"}]
HTTP: Any = getattr(openai._base_client, "httpx2", None) or openai._base_client.httpx  # older SDKs are on httpx


def saying(text: str) -> openai.OpenAI:
    """A client whose vendor always says ``text``, with a serial of its own."""
    serial = iter(range(1000))

    def answer(request: Any) -> Any:
        body = {"id": f"c{next(serial)}", "object": "chat.completion", "created": 1, "model": "m-2026-01-02",
                "choices": [{"index": 0, "finish_reason": "stop",
                             "message": {"role": "assistant", "content": text}}]}  # fmt: skip
        return HTTP.Response(200, json=body)

    transport = HTTP.MockTransport(answer)  # a vendor that says what we want cannot be had otherwise
    return openai.OpenAI(
        api_key="sk-own-key-0123456789abcdef", base_url="http://vendor.example/v1",
        http_client=HTTP.Client(transport=transport),
    )  # fmt: skip


def ask(client: openai.OpenAI) -> tuple[str, str | None]:
    made = client.chat.completions.create(model="m", messages=HELLO)
    return made.id, made.choices[0].message.content


@pytest.mark.parametrize("label", ["sk-2020-parliament-debate-slovakia-session-{}", "AKIA000000000000000{}"])
def test_labels_that_look_like_secrets_are_not_paid_again(root: Path, label: str) -> None:
    def study(session: custody.Session) -> list[tuple[str, str | None]]:
        found = []
        with session.stage(label.format(9)):
            for number in (2, 3):
                with session.scope(corpus_file=label.format(number)):
                    found.append(ask(client))
        return found

    with saying("hello") as client:
        with custody.session("P", "E", root=root) as s:
            first = study(s)
        with custody.session("P", "E", root=root, session=s.id, strict=True) as s:
            assert study(s) == first
    assert first[0][0] != first[1][0]
    assert label.format(2).encode() not in next((s.path / "llm_archive").iterdir()).read_bytes()


def test_an_answer_that_looks_like_a_key_is_replayed_byte_for_byte(root: Path) -> None:
    text = "see sk-2020-parliament-debate-slovakia-12.txt, AKIA0000000000000001 and Bearer abcdefghijklmnopqrst"
    with saying(text) as client:
        with custody.session("P", "E", root=root) as s:
            first = ask(client)
        with custody.session("P", "E", root=root, session=s.id, strict=True):
            assert ask(client) == first
    assert first[1] == text
    assert custody.open(s.path).status()["redacted"] == 0


def test_an_answer_with_the_programs_own_key_says_that_it_was_cut(root: Path) -> None:
    with saying("your key is sk-own-key-0123456789abcdef") as client:
        with custody.session("P", "E", root=root) as s:
            ask(client)
        with custody.session("P", "E", root=root, session=s.id, strict=True):
            assert ask(client)[1] == "your key is [REDACTED]"
    stored = custody.open(s.path)
    assert stored.calls()[0].fields["redacted"] is True
    assert stored.status()["redacted"] == 1


def test_credentials_in_a_body_are_masked(sdk_env: Simulator, root: Path) -> None:
    tools: Any = [{"type": "mcp", "server_label": "x", "server_url": "https://mcp.example/sse",
                   "authorization": "canary-one-4711", "headers": {"X-Gate": "canary-two-4711"}}]  # fmt: skip
    with custody.session("P", "E", root=root) as s, openai.OpenAI() as client:
        client.responses.create(model="gpt-4o", input="Hello", extra_body={"tools": tools})
    data = next((s.path / "llm_archive").iterdir()).read_bytes()
    assert b"mcp.example" in data
    assert b"canary-one-4711" not in data and b"canary-two-4711" not in data


@pytest.mark.parametrize("loss", ["emptied", "deleted", "overwritten"])
def test_a_vanished_archive_is_not_paid_again_in_silence(
    root: Path, sdk_env: Simulator, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openai.OpenAI() as client:
        with custody.session("P", "E", root=root) as s:
            ask(client)
            ask(client)
        segment = next((s.path / "llm_archive").iterdir())
        kept = segment.read_bytes()
        if loss == "deleted":
            segment.unlink()
        else:
            segment.write_bytes(b"" if loss == "emptied" else b"\xfe" * 3000)
        with pytest.raises(custody.ArchiveDamaged, match="2 calls that were complete are gone"):
            custody.session("P", "E", root=root, session=s.id)
        assert sdk_env.paid() == 2
        segment.write_bytes(kept)
        with custody.session("P", "E", root=root, session=s.id, strict=True):
            ask(client)
        segment.unlink()
        monkeypatch.setenv("CUSTODY_ACCEPT_LOSS", "1")
        with custody.session("P", "E", root=root, session=s.id):
            ask(client)
        monkeypatch.delenv("CUSTODY_ACCEPT_LOSS")
        with custody.session("P", "E", root=root, session=s.id, strict=True):  # what was accepted is not asked again
            ask(client)
        assert sdk_env.paid() == 3
        for segment in (s.path / "llm_archive").glob("*.jsonl"):
            segment.unlink()
        with pytest.raises(custody.ArchiveDamaged, match="1 calls that were complete are gone"):  # another loss is news
            custody.session("P", "E", root=root, session=s.id)
    assert sdk_env.paid() == 3


def test_a_closed_session_is_not_entered_again(root: Path) -> None:
    with custody.session("P", "E", root=root) as s:
        pass
    with pytest.raises(custody.UsageError, match="is closed"), s:
        pass


def test_a_joined_script_that_wants_another_session(cli: Cli, tmp_path: Path, sdk_env: Simulator) -> None:
    (tmp_path / "plain.py").write_text("import openai\nopenai.OpenAI().models.list()\n")
    (tmp_path / "other.py").write_text(
        "import custody, openai\n"
        "custody.session(project='P', experiment='E', session='session_20200101_000000')\n"
        "openai.OpenAI().models.list()\n"
    )
    (tmp_path / "anew.py").write_text(
        "import custody, openai\n"
        "custody.session(project='P', experiment='E', new=True)\n"
        "openai.OpenAI().models.list()\n"
    )
    run = ("run", "--project", "P", "--experiment", "E")
    done = cli(*run, "--", "python", "other.py")
    assert done.returncode == 1 and "NamesDisagree" in done.stderr and "session_20200101_000000" in done.stderr
    assert sdk_env.count() == 0
    again = cli(*run, "--", "python", "anew.py")
    assert again.returncode == 1 and "NamesDisagree" in again.stderr
    assert sdk_env.count() == 0
    assert cli(*run, "--new", "--", "python", "anew.py").returncode == 0


def test_one_id_names_one_session(root: Path) -> None:
    ids = []
    for experiment in ("a", "b", "c"):
        with custody.session("P", experiment, root=root) as s:
            ids.append(s.id)
    assert len(set(ids)) == 3


@pytest.mark.parametrize("path", ["/API/v3/surveys/SV_1/responses", "/survey/v1/responses", "/api/forms/embeddings"])
def test_a_survey_is_not_a_model(sim: Simulator, root: Path, path: str) -> None:
    """By its path it may be; it has no model and no input, and is posted again when the program runs again."""
    with custody.session("P", "E", root=root) as session:
        httpx2.post(f"{sim.url}{path}", json={"values": {"q1": "yes"}})
    assert sim.count() == 1
    assert custody.open(session.path).calls() == []
