"""A canary in every place where the SDKs carry a secret: it is found nowhere in what custody wrote or said."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from custody.testing.simulator import Simulator

CANARY = "CANARY0x7f3a"

STUDY = """
import os
import anthropic, custody, openai

key = os.environ["OPENAI_API_KEY"]
gpt = openai.OpenAI(
    organization="org-1",
    default_headers={
        "Cookie": "session=" + os.environ["COOKIE_JAR"],
        "X-Goog-Api-Key": os.environ["GOOGLE_API_KEY"],
        "Api-Key": os.environ["AZURE_OPENAI_API_KEY"],
        "X-Amz-Security-Token": os.environ["AWS_SESSION_TOKEN"],
        "X-My-Gateway-Auth": os.environ["GATEWAY_AUTH"],
        "Proxy-Authorization": "Basic " + os.environ["PROXY_BASIC"],
    },
    default_query={"key": os.environ["GOOGLE_API_KEY"], "access_token": os.environ["AWS_SESSION_TOKEN"],
                   "sig": os.environ["GATEWAY_AUTH"], "api-version": "2024-06-01"},
)
claude = anthropic.Anthropic(auth_token=os.environ["ANTHROPIC_AUTH_TOKEN"])
hello = [{"role": "user", "content": "Hello"}]
with custody.session(project="P", experiment="E") as session:
    gpt.chat.completions.create(model="gpt-4o", messages=hello)
    for chunk in gpt.chat.completions.create(model="gpt-4o", messages=hello, stream=True):
        pass
    claude.messages.create(model="claude-sonnet-4-6", max_tokens=50, messages=hello)
    # The worst cases: the key in the prompt, and a vendor that says the key in its error.
    gpt.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": f"my key is {key}"}])
    for wrong in (gpt.with_options(api_key="sk-invalid-" + key), gpt.with_options(api_key="invalid" + key)):
        try:
            wrong.chat.completions.create(model="gpt-4o", messages=hello)
        except openai.AuthenticationError as error:
            assert key in str(error), "the program's own view is not changed"
    try:
        claude.with_options(api_key="invalid-" + key).messages.create(
            model="claude-sonnet-4-6", max_tokens=50, messages=hello)
    except anthropic.AuthenticationError:
        pass
"""

STRICT = """
import custody, openai, os
with custody.session(project="P", experiment="E", strict=True):
    openai.OpenAI(default_query={"key": os.environ["GOOGLE_API_KEY"]}).chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Hello, my key is " + os.environ["OPENAI_API_KEY"]}])
"""


def canary(name: str) -> str:
    return f"{CANARY}-{name}-Zq8"


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_no_canary_on_disk_or_in_words(tmp_path: Path, gzip: bool) -> None:
    names = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GOOGLE_API_KEY", "AZURE_OPENAI_API_KEY",
             "AWS_SESSION_TOKEN", "AWS_SECRET_ACCESS_KEY", "COOKIE_JAR", "GATEWAY_AUTH", "PROXY_BASIC")  # fmt: skip
    with Simulator(gzip=gzip) as sim:
        secrets = {name: canary(name) for name in names}
        environment = {**os.environ, **sim.env(), **secrets, "OPENAI_ORG_ID": "org-1"}
        (tmp_path / "study.py").write_text(STUDY)
        (tmp_path / "strict.py").write_text(STRICT)
        run = [sys.executable, "-m", "custody.cli", "run", "--project", "P", "--experiment", "E"]
        said = []
        for words in (
            [*run, "--", "python", "study.py", "--api-key", canary("ARGUMENT_API_KEY"), canary("OPENAI_API_KEY")],
            [*run, "--new", "--", "python", "strict.py"],
            [sys.executable, "-m", "custody.cli", "doctor", "--json"],
        ):
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
            said.append(done.stdout + done.stderr)
        assert "ReplayMiss" in said[1]
        assert sim.answered() >= 4
    files = [path for path in (tmp_path / "projects").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) > 10_000
    forms = {CANARY.encode(), base64.b64encode(CANARY.encode())[:12], CANARY.encode().hex().encode()}
    for path in files:
        data = path.read_bytes()
        assert not [form for form in forms if form in data], path
        assert b"simulator-cookie" not in data, path
    for text in said:
        shown = "\n".join(line for line in text.splitlines() if line.startswith("custody") or "ReplayMiss" in line)
        assert CANARY not in shown
