"""The plugin: its call seams, what it claims, what it reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from custody_google import paths, streams

from custody.plugin import CallSeam, Claim, Exchange, Forensics, Patch, RequestHead, Vendor, hookimpl
from custody_vertexai import credentials, reading
from custody_vertexai.messages import MESSAGES

NAME = "vertexai"

_PREDICTION = (
    "generate_content stream_generate_content embed_content predict server_streaming_predict direct_predict "
    "direct_raw_predict raw_predict stream_raw_predict explain"
).split()
_METHODS = {
    ("v1", "prediction_service", "PredictionService"): _PREDICTION,
    ("v1beta1", "prediction_service", "PredictionService"): [*_PREDICTION, "count_tokens", "chat_completions"],
    ("v1", "llm_utility_service", "LlmUtilityService"): ["count_tokens", "compute_tokens"],
    ("v1beta1", "llm_utility_service", "LlmUtilityService"): ["compute_tokens"],
    # ``vertexai.language_models`` looks a model up before it uses it.
    ("v1", "model_garden_service", "ModelGardenService"): ["get_publisher_model"],
    ("v1beta1", "model_garden_service", "ModelGardenService"): ["get_publisher_model"],
}
_REST = {
    "explain": "other",
    "serverStreamingPredict": "predict",
    "directPredict": "predict",
    "directRawPredict": "other",
}
# Who pays does not change an answer, and is derived from credentials, which a replay does without.
_BY_CREDENTIALS = frozenset({"x-goog-user-project"})


def _seams() -> Iterator[CallSeam]:
    # Retries happen inside of these methods, also when ``vertexai.generative_models`` calls them. The
    # channel belongs to the client's transport, and a token is not claimed: any claimed request belongs.
    for (version, folder, service), methods in _METHODS.items():
        base = f"google.cloud.aiplatform_{version}.services.{folder}"
        for method in methods:
            yield CallSeam(f"{base}.client", f"{service}Client.{method}", "sync", client=())
            yield CallSeam(f"{base}.async_client", f"{service}AsyncClient.{method}", "async", client=())


class VertexPlugin:
    """Read-only, but for how many sessions are open."""

    @hookimpl
    def vendor(self) -> Vendor:
        return Vendor(
            sdk="google-cloud-aiplatform",
            package="google.cloud.aiplatform",
            seams=tuple(_seams()),
            patches=(
                Patch("google.auth.credentials", "Credentials.before_request", credentials.token_later),
                Patch("google.auth._default", "_get_gce_credentials", credentials.machine_later),
            ),
        )

    @hookimpl
    def session_opened(self, session: Any) -> None:
        credentials.sessions.opened()

    @hookimpl
    def session_closed(self, session: Any) -> None:
        credentials.sessions.closed()

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        if request.sdk not in (None, NAME):
            return None
        rpc = reading.rpc_of(request)
        if rpc is not None:
            resource = unquote(request.header("x-goog-request-params") or "")
            asked = paths.Place(None, rest=f"models/{resource.rpartition('/')[2]}", method="predict")
            operation = asked.operation if rpc.method == "Predict" else MESSAGES[rpc.method][0]
            return Claim(NAME, _vendor(request), operation or "predict", None, _BY_CREDENTIALS)
        if request.sdk != NAME or request.parts.scheme not in ("http", "https"):
            return None
        place = paths.of(request)
        if place.project is None and place.publisher is None:
            return None  # a token's
        read = place.method in paths.METHODS or (place.method is None and place.rest.startswith("models/"))
        found = place.operation if read else _REST.get(place.method or "")
        return Claim(NAME, _vendor(request), found, streams.stream_end, _BY_CREDENTIALS) if found else None

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return reading.read(exchange) if exchange.claim.plugin == NAME else None


def _vendor(request: RequestHead) -> str:
    return paths.of(request).vendor or request.parts.netloc.rpartition("@")[2]
