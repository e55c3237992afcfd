"""The SDK led to the simulator, over each HTTP library that it knows, and what a program can see of its results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google import genai
from google.genai import _api_client, errors, types
from pydantic import BaseModel

from custody.redact import response_headers


class Google:
    """Runs scenarios with a client of the SDK: bare, recorded, and replayed with the vendor gone."""

    def __init__(self, three_ways: Any) -> None:
        self.three_ways = three_ways
        self.sim = three_ways.sim
        self.vertex = False

    def client(self, **options: Any) -> genai.Client:
        """A client of the Developer API, or of Vertex AI with a key."""
        given = types.HttpOptions(**{"base_url": self.sim.url, **options})
        return genai.Client(vertexai=self.vertex, api_key="simulated-key", http_options=given)

    def sync(self, ask: Callable[[genai.Client], Any], *, before: Any = lambda: None, **options: Any) -> Any:
        def scenario() -> Any:
            with self.client(**options) as client:
                return visible(_outcome(ask, client))

        return self.three_ways(scenario, before=before)

    def asynchronous(self, ask: Callable[[Any], Any], *, before: Any = lambda: None, **options: Any) -> Any:
        async def scenario() -> Any:
            async with self.client(**options).aio as client:
                try:
                    return visible(await ask(client))
                except errors.APIError as error:
                    return visible(error)

        return self.three_ways(scenario, before=before)

    @property
    def calls(self) -> list[Any]:
        return list(self.three_ways.calls)


def _outcome(ask: Callable[[genai.Client], Any], client: genai.Client) -> Any:
    try:
        return ask(client)
    except errors.APIError as error:
        return error


def visible(value: Any) -> Any:
    """``value`` as plain data with the names of its classes; of headers those that the archive may keep."""
    if isinstance(value, BaseModel) and type(value).__module__.startswith("google.genai._gaos"):
        return [type(value).__name__, value.model_dump(warnings=False)]
    if isinstance(value, BaseModel):
        fields = {name: visible(getattr(value, name)) for name in type(value).model_fields}
        return [type(value).__name__, fields, *_derived(value)]
    if isinstance(value, errors.APIError):
        return [type(value).__name__, value.code, value.status, value.message, value.details, str(value)]
    if isinstance(value, dict):
        if all(isinstance(v, str) for v in value.values()) and {"content-type", "Content-Type"} & set(value):
            return [pair for pair in response_headers(tuple(value.items())) if pair[0] != "x-should-retry"]
        return {key: visible(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [visible(inner) for inner in value]
    return value


def _derived(value: BaseModel) -> list[Any]:
    """The properties that programs use instead of the fields."""
    if not isinstance(value, types.GenerateContentResponse):
        return []
    calls = [(call.name, call.args) for call in value.function_calls or []]
    return [value.text if not calls else None, calls]


@pytest.fixture
def google(three_ways: Any) -> Google:
    return Google(three_ways)


def _needs(library: str) -> None:
    if library == "httpx2" and not hasattr(_api_client, "_get_http_client_backend"):
        pytest.skip(f"google-genai {genai.__version__} knows httpx only")


def _libraries(*names: str) -> list[Any]:
    return [pytest.param(name, id=name) for name in names]


@pytest.fixture(params=_libraries("httpx", "httpx2"))
def sync_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The HTTP library of synchronous clients."""
    _needs(request.param)
    monkeypatch.setenv("GOOGLE_GENAI_HTTP_CLIENT", request.param)
    return str(request.param)


@pytest.fixture(params=_libraries("aiohttp", "httpx", "httpx2"))
def async_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The HTTP library of asynchronous clients; the SDK takes aiohttp where it is installed."""
    _needs(request.param)
    if request.param != "aiohttp":
        monkeypatch.setenv("GOOGLE_GENAI_HTTP_CLIENT", request.param)
        monkeypatch.setattr(_api_client, "has_aiohttp", False)
    return str(request.param)
