"""No secret on disk, and nothing else missing."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import custody
from custody import redact
from custody.journal import lines
from custody.redact import MASK, Redactor
from custody.testing.simulator import Simulator

CANARY = "canary-7f3a9b2c1d8e"
ODD = 'p\\a"ß/+ 9&ä7%f3'

PROSE = [
    "Production of the Application: please keep-alive, max-age=0, gzip, no-cache.",
    'if "-----BEGIN PRIVATE KEY-----" in text and not text.endswith("-----END PRIVATE KEY-----"): skip()',
    "sk-learn, task-force, AKIA, hf_hub, Bearer token, xai-api; risk-adjusted-returns-of-all-portfolios-2024",
    "Authorization: Bearer <your token here>; api_key=YOUR_KEY, the response has an exchange and a request",
    "2026-11-23T04:05:06Z experiment2 python312 gpt-4o-2024-08-06 claude-sonnet-4-5-20250929 20261123",
    '{"kind":"request","seq":1,"exchange":"w-1.1"} https://example.com/app?x=1',
]


def line(redactor: Redactor, value: Any) -> bytes:
    """A body as it stands on a line: JSON within JSON."""
    body = json.dumps({"messages": [{"content": value}]}).encode()
    return redactor.scrub(lines.unsealed("request", 1, {"exchange": "w-1.1", "body": lines.pack(body), "plain": value}))


HEADERS = [
    ("Authorization", f"Bearer {CANARY}"),
    ("Authorization", f"Basic {base64.b64encode(f'u:{CANARY}'.encode()).decode()}"),
    ("x-api-key", CANARY),
    ("api-key", CANARY),
    ("Cookie", f"theme=dark; sid={CANARY}; a=b"),
    ("X-Custom", CANARY),
    ("x-amz-security-token", CANARY),
    ("Referer", f"https://h/?t={CANARY}"),
    ("X-Title", f"app {CANARY}"),
    ("x-goog-api-key", CANARY),
    ("Proxy-Authorization", f"Digest response={CANARY}, nonce={CANARY}"),
]


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_what_a_header_carries_is_cut_out_of_bodies(header: tuple[str, str]) -> None:
    redactor = Redactor()
    redactor.learn_request((header,), "https://h/v1")
    for text in (f"it was {CANARY}", f"\n{CANARY}\n", f'{{"k":"{CANARY}"}}'):
        scrubbed = line(redactor, text)
        assert CANARY.encode() not in scrubbed
        assert MASK.encode() in scrubbed
        assert json.loads(scrubbed + b"}")["exchange"] == "w-1.1"
    assert not any(CANARY in value for _, value in redact.request_headers((header,)))


@pytest.mark.parametrize(
    "url",
    [
        f"https://h/v1?key={CANARY}",
        f"https://h/v1?sig={CANARY}&alt=sse",
        f"https://h/v1?x={CANARY}",
        f"https://user:{CANARY}@h/v1",
        f"https://{CANARY}@h/v1",
        f"https://h/v1#{CANARY}",
    ],
)
def test_addresses(url: str) -> None:
    assert CANARY not in redact.url(url)
    if "#" not in url:
        redactor = Redactor()
        redactor.learn_request((), url)
        assert CANARY.encode() not in line(redactor, f"echo {CANARY}")


def test_addresses_keep_what_is_known() -> None:
    assert (
        redact.url("https://h:8/a/b?api-version=1&alt=sse&k=v")
        == f"https://h:8/a/b?api-version=1&alt=sse&k={quote(MASK)}"
    )
    moved = (("Location", f"https://h/x?sig={CANARY}"), ("Set-Cookie", CANARY), ("x-request-id", "r-1"))
    assert redact.response_headers(moved) == [["Location", f"https://h/x?sig={quote(MASK)}"], ["x-request-id", "r-1"]]


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "HF_TOKEN", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "SESSION_ID", "X_AUTH"]
)
def test_variables(name: str) -> None:
    redactor = Redactor()
    redactor.learn_environment({name: CANARY, "PATH": "/usr/bin:/bin1234567"})
    assert line(redactor, CANARY) == line(Redactor(), MASK)
    assert redactor.finds(CANARY.encode())
    assert redactor.text(f"<{CANARY}>") == f"<{MASK}>"


def test_variables_that_are_no_secrets() -> None:
    redactor = Redactor()
    redactor.learn_environment(
        {
            "SSH_AUTH_SOCK": "/tmp/ssh-1234567/agent",
            "GIT_AUTHOR_EMAIL": "jane2@example.org",
            "XKB_KEYBOARD": "pc105-layout",
            "TOKENIZERS_PARALLELISM": "false-1234",
            "HOME_DIR": CANARY,
            "KEY_PATH": "~/keys/id_rsa2",
        }
    )
    text = f"/tmp/ssh-1234567/agent jane2@example.org pc105-layout false-1234 {CANARY} ~/keys/id_rsa2".encode()
    assert redactor.scrub(text) == text


@pytest.mark.parametrize(
    "form", [ODD, quote(ODD), quote(ODD, safe=""), re.sub("%..", lambda m: m[0].lower(), quote(ODD, safe=""))]
)
@pytest.mark.parametrize("escaped", [False, True])
def test_forms_of_a_secret(form: str, escaped: bool) -> None:
    redactor = Redactor()
    redactor.learn([ODD])
    body = json.dumps({"echo": form}, ensure_ascii=escaped)
    for text in (form, body):
        assert redactor.text(text).count(MASK) == 1
    assert line(redactor, form).count(MASK.encode()) == 2


KEYS = [
    "sk-" + "a1B2" * 12,
    "sk-proj-" + "a1_-" * 12,
    "sk-ant-api03-" + "x" * 40,
    "AIza" + "Sy0_-" * 7,
    "ya29." + "a0." * 9,
    "AKIA" + "Z" * 16,
    "ASIA" + "9" * 16,
    "gsk_" + "a1" * 20,
    "hf_" + "aB" * 17,
    "ghp_" + "a1B2" * 9,
    "xai-" + "aB3" * 20,
    "Bearer " + "abc.DEF-" * 4 + "==",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("before", ["", " ", "\n", "\t", '"', "=", "\x1b", "é", "\u2028", "("])
def test_keys_of_known_shape(key: str, before: str) -> None:
    scrubbed = line(Redactor(), f"mine:{before}{key}")
    assert key[8:].encode() not in scrubbed
    assert scrubbed.count(MASK.encode()) == 2
    assert json.loads(scrubbed + b"}")["kind"] == "request"


def test_a_private_key() -> None:
    body = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj+/AgEAAoIBAQC7VJTUt9Us8cK" for _ in range(6))
    scrubbed = line(Redactor(), f"a\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\nz")
    assert b"MIIE" not in scrubbed
    assert json.loads(json.loads(scrubbed + b"}")["body"]["text"])["messages"][0]["content"] == f"a\n{MASK}\nz"


ORDINARY = (
    ("Connection", "keep-alive"),
    ("Cache-Control", "no-cache"),
    ("TE", "trailers"),
    ("Expect", "100-continue"),
    ("X-Title", "Production Application"),
    ("HTTP-Referer", "https://example.com/app"),
    ("x-model", "gpt-4o-2024-08-06"),
    ("x-step", "experiment2 python312"),
    ("x-kind", "response"),
    ("x-what", "exchange"),
    ("x-date", "2026-11-23T04:05:06Z"),
    ("x-api-key", "response"),
    ("Authorization", "Bearer not-needed"),
    ("x-number-key", "20261123"),
    ("Cookie", "lang=en; app=exchange"),
)


@pytest.mark.parametrize("text", PROSE)
def test_prose_and_code_are_not_changed_by_ordinary_headers(text: str) -> None:
    redactor = Redactor()
    redactor.learn_request(ORDINARY, "https://h/v1?stage=production&x=exchange")
    for data in (text.encode(), line(Redactor(), text), b'{"kind":"response","seq":20261123,"exchange":"w-1.1"'):
        assert redactor.scrub(data) == data
        assert not redactor.finds(data)


@given(st.text(st.characters(codec="utf-8")))
def test_text_without_secrets_is_unchanged(text: str) -> None:
    redactor = Redactor()
    redactor.learn([CANARY, ODD])
    assert redactor.scrub(text.encode()) == text.encode()


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_a_known_secret_never_stays(before: str, after: str) -> None:
    redactor = Redactor()
    redactor.learn([CANARY])
    assert redactor.text(f"{before}{CANARY}{after}") == f"{before}{MASK}{after}"
    assert line(redactor, before + CANARY + after) == line(Redactor(), before + MASK + after)


def test_short_values_and_words_are_not_learned() -> None:
    redactor = Redactor()
    redactor.learn(["", "abc", "a1b2c3d", "exchange", "not-needed", "12345678"])
    text = b"abc a1b2c3d exchange not-needed 12345678"
    assert redactor.scrub(text) == text


def test_what_differs_with_every_request_does_not_pile_up() -> None:
    redactor = Redactor()
    redactor.learn_environment({"API_KEY": CANARY})
    for _ in range(1000):
        token = secrets.token_hex(16)
        redactor.learn_request((("x-request-id", token), ("Authorization", f"Signature {token}")), "https://h/")
    assert redactor.finds(token.encode())
    assert redactor.finds(CANARY.encode()), "the environment's stay"
    assert len(redactor._literals) < 5000


def test_patterns_of_plugins() -> None:
    redactor = Redactor([("ACME", "ACME-[0-9]+")])
    assert redactor.text("ACME-123 ACME-x") == f"{MASK} ACME-x"


def test_the_time_that_a_line_takes() -> None:
    redactor = Redactor()
    redactor.learn(secrets.token_urlsafe(32) for _ in range(20))
    data = b"It is an ordinary sentence of a task-force. " * 3200
    began = time.perf_counter()
    for _ in range(20):
        assert redactor.scrub(data) == data
    print(f"{len(data)} characters, 20 secrets: {(time.perf_counter() - began) / 20 * 1000:.2f} ms")


def test_bytes_that_are_no_text_keep_their_length() -> None:
    redactor = Redactor()
    redactor.learn(["correct-horse-battery-staple"])
    message = b"\x0a\xff\x1ccorrect-horse-battery-staple\x12\x04last"
    blanked = redactor.blanked(message)
    assert blanked == b"\x0a\xff\x1c" + b"*" * 28 + b"\x12\x04last"
    assert redactor.blanked(b"correct-horse-battery-staple") == b"correct-horse-battery-staple", "text is scrub's"
    key = b"\xff AKIA" + b"Q" * 16
    assert redactor.blanked(key) == b"\xff " + b"*" * 20
    assert redactor.blanked(key, answer=True) == key


def test_a_secret_in_a_binary_body_is_not_kept(sim: Simulator, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "canary-5d41402abc4b2a76"
    monkeypatch.setenv("SOME_API_KEY", secret)
    body = b"\xff\xfe" + secret.encode()
    with custody.session("P", "E", root=root) as session, httpx2.Client() as client:
        client.post(f"{sim.url}/v1/echo", content=body, headers={"authorization": "Bearer x"})
    for path in session.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            texts = [base64.b64decode(found) for found in re.findall(rb'"base64":"([^"]*)"', data)]
            assert all(secret.encode() not in text for text in (data, *texts)), path
    (call,) = custody.open(session.path).calls()
    assert len(call.request_body) == len(body)


@pytest.mark.parametrize(
    "body",
    [
        {"data_sources": [{"parameters": {"authentication": {"type": "api_key", "key": CANARY}}}]},
        {
            "data_sources": [
                {"parameters": {"authentication": {"type": "connection_string", "connection_string": CANARY}}}
            ]
        },
        {"tools": [{"type": "mcp", "server_url": f"https://tool.example/mcp?api_key={CANARY}"}]},
        {"tools": [{"type": "mcp", "server_url": f"https://someone:{CANARY}@tool.example/mcp"}]},
        {"messages": [{"content": [{"image_url": {"url": f"https://blob.example/a.png?sv=1&sig={CANARY}"}}]}]},
        {"tools": [{"googleMaps": {"authConfig": {"apiKeyConfig": {"apiKeyString": CANARY}}}}]},
        {"service_auth": {"type": "bearer", "token": CANARY}},
    ],
    ids=lambda body: next(iter(body)),
)
def test_credentials_of_what_the_vendor_calls(body: Any) -> None:
    redactor, data = Redactor(), json.dumps(body).encode()
    redactor.learn_body(data)
    assert CANARY.encode() not in redactor.scrub(data)
    assert redactor.scrub(b'"bearer api_key connection_string"') == b'"bearer api_key connection_string"'


def test_a_schema_of_credentials_is_no_credential() -> None:
    schema = {"type": "object", "properties": {"password": {"type": "string", "description": "Authentication, please"}}}
    redactor, data = Redactor(), json.dumps({"tools": [{"parameters": schema}], "auth": "x"}).encode()
    redactor.learn_body(data)
    assert redactor.scrub(data) == data


def test_variables_in_a_command() -> None:
    words = ["env", "MY_API_KEY=abc123", "bash", "-c", "OPENAI_API_KEY='a b' python x.py --n=3 N=4"]
    assert redact.mask_command(words) == [
        "env", f"MY_API_KEY={MASK}", "bash", "-c", f"OPENAI_API_KEY={MASK} python x.py --n=3 N=4"
    ]  # fmt: skip
