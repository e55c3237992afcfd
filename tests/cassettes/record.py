"""Records cassettes/ again: real SDKs against the vendor simulator, through vcrpy.

Run as a script: ``python tests/cassettes/record.py``. The simulator's address is written as a neutral host, and
neither keys nor cookies are written. ``tests/flow/test_cassettes.py`` asks the same questions of the recordings.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import vcr
from anthropic import Anthropic
from openai import OpenAI

from custody.testing.simulator import Simulator

FOLDER = Path(__file__).parents[2] / "cassettes"
HOST = "http://simulator.example"
KEY = "sk-cassette-0123456789abcdefghij"
QUESTION: Any = [{"role": "user", "content": "Name a river and say one thing about it."}]
CLAUDE: Any = {"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": QUESTION}

_SECRET_HEADERS = ("authorization", "x-api-key", "cookie")
_NOISE = ("user-agent", "x-stainless-")


def openai_chat(host: str) -> Any:
    with _openai(host) as client:
        return client.chat.completions.create(model="gpt-4o", messages=QUESTION, seed=7)


def openai_stream(host: str) -> Any:
    with _openai(host) as client:
        options: Any = {"stream": True, "stream_options": {"include_usage": True}}
        return list(client.chat.completions.create(model="gpt-4o", messages=QUESTION, **options))


def openai_responses(host: str) -> Any:
    with _openai(host) as client:
        return client.responses.create(model="gpt-4o", input="Name a river.")


def openai_embeddings(host: str) -> Any:
    with _openai(host) as client:
        return client.embeddings.create(model="text-embedding-3-small", input=["Elbe", "Oder"], dimensions=8)


def anthropic_message(host: str) -> Any:
    with Anthropic(base_url=host, api_key=KEY) as client:
        return client.messages.create(**CLAUDE)


def anthropic_stream(host: str) -> Any:
    with Anthropic(base_url=host, api_key=KEY) as client:
        return list(client.messages.create(**CLAUDE, stream=True))


def _openai(host: str) -> OpenAI:
    return OpenAI(base_url=f"{host}/v1", api_key=KEY)


QUESTIONS: dict[str, Callable[[str], Any]] = {
    ask.__name__: ask
    for ask in (
        openai_chat,
        openai_stream,
        openai_responses,
        openai_embeddings,
        anthropic_message,
        anthropic_stream,
    )
}


def recorder(real: str = HOST) -> vcr.VCR:
    """A vcrpy that writes ``real``, the simulator's address, as ``HOST``, and no secret."""

    def clean_request(request: Any) -> Any:
        request.uri = request.uri.replace(real, HOST)
        for name in [n for n in request.headers if n.lower().startswith(_NOISE) or n.lower() == "host"]:
            del request.headers[name]
        return request

    def clean_response(response: Any) -> Any:
        for name in [n for n in response["headers"] if n.lower() == "set-cookie"]:
            del response["headers"][name]
        return response

    return vcr.VCR(
        cassette_library_dir=str(FOLDER),
        filter_headers=_SECRET_HEADERS,
        before_record_request=clean_request,
        before_record_response=clean_response,
        match_on=["method", "scheme", "host", "path", "query", "body"],
    )


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with Simulator(seed=1) as sim:
        for name, ask in QUESTIONS.items():
            path = FOLDER / f"{name}.yaml"
            path.unlink(missing_ok=True)
            with recorder(sim.url).use_cassette(path.name, record_mode="once"):
                ask(sim.url)
            print(f"{path.relative_to(FOLDER.parent)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
