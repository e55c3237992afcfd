"""The plugin: its call seams, what it claims, what it reads.

Read in cohere 5.21, 6.1 and 7.3: ``HttpClient.request`` sends again by calling itself.
"""

from __future__ import annotations

from custody.plugin import CallSeam, Claim, Exchange, Forensics, RequestHead, Vendor, hookimpl
from custody_cohere import credentials, operations, reading, streaming

NAME = "cohere"
HOSTS = "cohere.com", "cohere.ai"
_CLIENT = ("httpx_client",)
_KEY_IGNORE = frozenset(
    "x-fern-language x-fern-runtime x-fern-platform x-fern-sdk-name x-fern-sdk-version x-client-name".split()
)


class CoherePlugin:
    """Read-only and without state."""

    @hookimpl
    def vendor(self) -> Vendor:
        return Vendor(
            sdk="cohere",
            seams=(
                CallSeam("cohere.core.http_client", "HttpClient.request", "sync", client=_CLIENT),
                CallSeam("cohere.core.http_client", "AsyncHttpClient.request", "async", client=_CLIENT),
                CallSeam(streaming.__name__, "enter", "sync", client=_CLIENT),
                CallSeam(streaming.__name__, "enter_async", "async", client=_CLIENT),
            ),
            patches=(*streaming.PATCHES, *credentials.PATCHES),
        )

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        if request.sdk not in (None, NAME):
            return None
        host = (request.parts.hostname or "").lower()
        known = any(host == name or host.endswith(f".{name}") for name in HOSTS)
        own = request.sdk == NAME or (request.sdk is None and request.header("x-fern-sdk-name") == NAME)
        operation = operations.of(request.parts.path)
        if not own and not (known and request.sdk is None and operation != "other"):
            return None
        vendor = "Cohere" if known else request.parts.netloc.rpartition("@")[2]
        return Claim(NAME, vendor, operation, operations.stream_end, _KEY_IGNORE)

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return reading.read(exchange) if exchange.claim.plugin == NAME else None
