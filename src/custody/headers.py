"""Names of headers: which may be stored, and what else is worked out of them.

There are few, and they come again with every call, so it is remembered of each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Literal, TypeVar

N = TypeVar("N", bound=Hashable)
T = TypeVar("T")

_MOST = 1024  # whoever is at the other end may think of any number of names


class Remembered(dict[N, T], Generic[N, T]):
    """``of(name)`` for each name that is asked for, as ``remembered[name]``."""

    __slots__ = ("_of",)

    def __init__(self, of: Callable[[N], T]) -> None:
        self._of = of

    def __missing__(self, name: N) -> T:
        if len(self) >= _MOST:
            self.clear()
        value = self[name] = self._of(name)
        return value


lowered: Remembered[str, str] = Remembered(str.lower)
decoded: Remembered[bytes, str] = Remembered(lambda name: name.decode("latin-1"))

REQUEST_HEADERS = frozenset(
    "accept accept-language content-type content-encoding content-language host user-agent "
    "anthropic-version anthropic-beta openai-beta openai-organization openai-project "
    "x-goog-user-project x-goog-api-client x-goog-api-version x-vertex-ai-llm-shared-request-type".split()
)
REQUEST_HEADER_PREFIXES = ("x-stainless-", "x-amzn-bedrock-")

RESPONSE_HEADERS = frozenset(
    "content-type content-encoding content-length content-language transfer-encoding date server via age "
    "cache-control retry-after retry-after-ms x-should-retry request-id x-request-id apim-request-id "
    "x-ms-region x-ms-request-id x-amzn-requestid x-goog-request-id cf-ray x-cloud-trace-context "
    "openai-organization openai-project openai-processing-ms openai-version openai-model "
    "anthropic-organization-id anthropic-workspace-id x-envoy-upstream-service-time server-timing "
    "x-gemini-service-tier strict-transport-security vary location www-authenticate "
    "x-groq-region x-inference-provider x-ds-trace-id x-ms-deployment-name x-ms-is-spilled-over "
    "x-ms-rai-invoked azureml-model-session cmp-upstream-response-duration x-inference-version x-inference-time "
    "x-queue-time x-compute-time x-total-time x-api-received x-api-call-start x-api-call-end cf-cache-status "
    "mistral-correlation-id x-kong-request-id x-debug-trace-id x-api-warning x-amzn-errortype "
    "x-goog-upload-url x-goog-upload-status".split()
)
RESPONSE_HEADER_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "x-amzn-bedrock-", "x-custody-")
_ADDRESSES = ("location", "x-goog-upload-url")  # a signed address is a credential


def _request_header(name: str) -> bool:
    """Whether it may be stored."""
    name = name.lower()
    return name in REQUEST_HEADERS or name.startswith(REQUEST_HEADER_PREFIXES)


def _response_header(name: str) -> Literal["as it is", "masked"] | None:
    """How it may be stored."""
    name = name.lower()
    if name not in RESPONSE_HEADERS and not name.startswith(RESPONSE_HEADER_PREFIXES):
        return None
    return "masked" if name in _ADDRESSES else "as it is"


in_requests = Remembered(_request_header)
in_responses = Remembered(_response_header)
