"""Sound, raw responses and live conversations of google-genai, where no tour has been."""

from __future__ import annotations

import asyncio
import base64
import runpy
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import types

import custody
from custody.testing.simulator import gemini

MODEL = "gemini-2.5-flash"
SERVER = Path(__file__).parents[3] / "tests" / "seam" / "websocket_server.py"


@pytest.fixture
def speaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor answers with sound where sound is asked for."""
    known = gemini._candidate

    def candidate(model: str, body: Any, contents: Any, said: str, answers: Any) -> Any:
        if "AUDIO" in ((body.get("generationConfig") or {}).get("responseModalities") or ()):
            data = base64.b64encode(answers.text().encode()).decode()
            return [{"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": data}}], "STOP"
        return known(model, body, contents, said, answers)

    monkeypatch.setattr(gemini, "_candidate", candidate)


def sounds_in(client: genai.Client) -> Any:
    parts = ["What is it?", types.Part.from_bytes(data=bytes(60), mime_type="audio/wav")]
    asked: Any = {"model": MODEL, "contents": parts}
    return [client.models.generate_content(**asked), list(client.models.generate_content_stream(**asked))]


def sounds_out(client: genai.Client) -> Any:
    voice = types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name="Kore"))
    config = types.GenerateContentConfig(
        response_modalities=["AUDIO"], speech_config=types.SpeechConfig(voice_config=voice)
    )
    asked: Any = {"model": "gemini-2.5-flash-preview-tts", "contents": "Say: rivers run.", "config": config}
    made = client.models.generate_content(**asked)
    assert made.candidates[0].content.parts[0].inline_data.data  # type: ignore[index, union-attr]
    return [made, list(client.models.generate_content_stream(**asked))]


@pytest.mark.usefixtures("speaking")
@pytest.mark.parametrize("ask", [sounds_in, sounds_out], ids=lambda f: f.__name__)
def test_sound(google: Any, ask: Any) -> None:
    google.sync(ask)
    assert [call.outcome for call in google.calls] == ["success"] * 2


def raw(client: genai.Client) -> Any:
    made: Any = client.interactions.with_raw_response.create(model=MODEL, input="Say something about rivers.")
    return [made.status_code, made.headers, made.parse()]


def streaming(client: genai.Client) -> Any:
    whole: Any = client.interactions.with_streaming_response.create(model=MODEL, input="Rivers?")
    with whole as response:
        return [response.status_code, response.headers, response.read()]


@pytest.mark.parametrize("ask", [raw, streaming], ids=["raw", "streaming"])
def test_raw_responses_of_interactions(three_ways: Any, ask: Any) -> None:
    """The other methods give their headers as `sdk_http_response`, which the tour sees."""

    def scenario() -> Any:
        options = types.HttpOptions(base_url=three_ways.sim.url)
        with genai.Client(vertexai=False, api_key="simulated-key", http_options=options) as client:
            if not hasattr(client.interactions, "with_raw_response"):
                pytest.skip("this SDK has no raw responses")
            return ask(client)

    three_ways(scenario)
    (call,) = three_ways.calls
    assert (call.outcome, call.fields["sdk"]["plugin"]) == ("success", "google")


# -- live -----------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file: the SDK insists on TLS."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    command = ["openssl", *words.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", made]
    subprocess.run(command, check=True, capture_output=True)
    made.write_bytes(key.read_bytes() + made.read_bytes())
    return made


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
def test_live_is_recorded_and_not_replayed(certificate: Path, root: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)

    async def talk(port: int) -> list[str]:
        args = {"ssl": ssl.create_default_context(cafile=str(certificate))}
        options = types.HttpOptions(base_url=f"https://127.0.0.1:{port}/", api_version="v1beta", async_client_args=args)
        client = genai.Client(vertexai=False, api_key="simulated-key", http_options=options)
        heard = []
        async with client.aio.live.connect(model="gemini-live", config={"response_modalities": ["TEXT"]}) as session:
            await session.send_client_content(turns={"role": "user", "parts": [{"text": "How is it?"}]})
            heard += [str(message.text) async for message in session.receive()]
        await client.aio.aclose()
        return heard

    loaded: Any = runpy.run_path(str(SERVER))
    with loaded["running"](serving) as server:
        bare = asyncio.run(talk(server.port))
        with custody.session("P", "E", root=root) as session:
            assert asyncio.run(talk(server.port)) == bare
        (call,) = custody.open(session.path).calls()
        assert (call.fields["operation"], call.fields["status"], call.outcome) == ("realtime", 101, "success")
        asked = len(server.handshakes)
        with (
            custody.session("P", "E", root=root, session=session.id, strict=True),
            pytest.raises(custody.ReplayMiss, match="is not replayed, and nothing is sent"),
        ):
            asyncio.run(talk(server.port))
        assert len(server.handshakes) == asked == 2
