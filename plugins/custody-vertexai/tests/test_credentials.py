"""A recorded program replays with no credentials and no network, and none of its credentials is on disk."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.testing.simulator.vertex_grpc import VertexSimulator
from custody.vendor import current

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

PROGRAM = """
import asyncio, json, os, socket, sys, time, warnings
warnings.simplefilter("ignore")
import vertexai
from vertexai.generative_models import GenerativeModel
import custody

endpoint, transport, root, session = sys.argv[1:5]
tried = []
if session:
    def refuse(self, address):
        tried.append(address)
        raise OSError("there is no network")
    socket.socket.connect = socket.socket.connect_ex = refuse
begun = time.monotonic()
with custody.session("P", "E", root=root, session=session or None, strict=bool(session)) as opened:
    vertexai.init(project="a-project", location="europe-west4", api_endpoint=endpoint, api_transport=transport)
    model = GenerativeModel("gemini-2.5-flash")
    answers = [model.generate_content("Rivers.").text]
    if transport == "grpc":
        answers += [chunk.text for chunk in model.generate_content("Rivers.", stream=True)]
        answers.append(asyncio.run(model.generate_content_async("Rivers.")).text)
print(json.dumps({"id": opened.id, "answers": answers, "seconds": time.monotonic() - begun, "tried": str(tried)}))
"""


def run(tmp_path: Path, *words: str, **env: str) -> Any:
    """Run the program in a fresh process, in which nothing but ``env`` leads to credentials."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "CLOUDSDK_", "GCE_", "CUSTODY_"))}
    clean |= {"HOME": str(tmp_path / "home"), "CUSTODY_SPILL_DIR": str(tmp_path / "spill"), "NO_PROXY": "*", **env}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], env=clean, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_program_replays_without_credentials(
    vertex: VertexSimulator, canary: Any, tmp_path: Path, transport: str
) -> None:
    endpoint = vertex.grpc_target if transport == "grpc" else vertex.url
    root = tmp_path / "root"
    words = (endpoint, transport, str(root))
    recorded = run(tmp_path, *words, "", GOOGLE_APPLICATION_CREDENTIALS=str(canary.file))
    came = [*vertex.tokens, *(seen.headers.get("authorization", "") for seen in vertex.requests)]
    tokens = {token.removeprefix("Bearer ") for token in came if token}
    assert tokens, "no token was sent"
    traces = [*canary.traces(), *(token.encode() for token in tokens)]
    for path in (path for path in root.rglob("*") if path.is_file()):
        found = [trace for trace in traces if trace in path.read_bytes()]
        assert not found, f"{path.name} holds a credential"

    asked = vertex.count()
    vertex.stop()
    replayed = run(tmp_path, *words, recorded["id"])
    assert replayed["answers"] == recorded["answers"]
    assert (vertex.count(), replayed["tried"]) == (asked, "[]")
    assert replayed["seconds"] < 60, "something waited"


REFUSED = """
import sys, warnings
warnings.simplefilter("ignore")
import google.auth, custody
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.aiplatform_v1 import PredictionServiceClient
import google.auth.compute_engine._metadata as metadata
metadata.ping = lambda *args, **kwargs: False
try:
    google.auth.default()
except google.auth.exceptions.DefaultCredentialsError as error:
    said = str(error)
custody.install()
try:
    google.auth.default()
except google.auth.exceptions.DefaultCredentialsError as error:
    assert str(error) == said
with custody.session("P", "E", root=sys.argv[1]):
    try:  # the program itself, and Google's other clients, are told at once
        google.auth.default()
        raise SystemExit("no error")
    except google.auth.exceptions.DefaultCredentialsError as error:
        assert str(error) == said
    for transport in ("grpc", "rest"):
        client = PredictionServiceClient(transport=transport, client_options={"api_endpoint": sys.argv[2]})
        name = "projects/p/locations/l/publishers/google/models/m"
        try:
            client.generate_content(model=name, contents=[{"role": "user", "parts": [{"text": "a"}]}])
        except (GoogleAPICallError, google.auth.exceptions.DefaultCredentialsError) as error:
            assert said in str(error), str(error)
            print("refused", transport)
"""


def test_where_there_are_none_the_sdk_says_so(vertex: VertexSimulator, tmp_path: Path) -> None:
    """At once without a session, and in one when a token is needed; nothing is sent."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "CLOUDSDK_", "GCE_", "CUSTODY_"))}
    clean |= {"HOME": str(tmp_path / "home"), "CUSTODY_SPILL_DIR": str(tmp_path / "spill")}
    words = [sys.executable, "-c", REFUSED, str(tmp_path / "root"), vertex.grpc_target]
    ran = subprocess.run(words, env=clean, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.split() == ["refused", "grpc", "refused", "rest"]
    assert vertex.count() == 0


class Within:
    """A call under way in which a client is made."""

    def deferred(self, resolve: Any) -> str:
        return "a placeholder"


def test_a_channel_that_is_made_inside_a_call_sends_real_tokens(
    vertex: VertexSimulator, canary: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """gRPC asks for tokens in the context in which the channel was made."""
    base: Any = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(canary.file))
    with custody.session("P", "E", root=tmp_path / "root"):
        token = current.set(Within())  # type: ignore[arg-type]
        try:
            client = base.PredictionServiceClient(client_options={"api_endpoint": vertex.grpc_target})
        finally:
            current.reset(token)
        with client:
            name = "projects/p/locations/l/publishers/google/models/m"
            client.generate_content(model=name, contents=[{"role": "user", "parts": [{"text": "a"}]}])
    assert len(vertex.tokens) == 1
    assert "placeholder" not in vertex.tokens[0]
    assert vertex.tokens[0].startswith("Bearer ")
