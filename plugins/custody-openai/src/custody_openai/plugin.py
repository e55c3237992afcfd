"""The plugin: its call seams, what it claims, what it reads."""

from __future__ import annotations

from functools import lru_cache

from custody.plugin import CallSeam, Claim, Doubt, Exchange, Forensics, Questions, RequestHead, Vendor, hookimpl
from custody_openai import credentials, hosts, operations, reading, reconcile, streams

NAME = "openai"


@lru_cache(maxsize=256)
def _claim(vendor: str, operation: str, sure: bool) -> Claim:
    needs = frozenset[str]() if sure else operations.NEEDS.get(operation, frozenset())
    return Claim(NAME, vendor, operation, streams.ends.get(operation), needs=needs)


class OpenAIPlugin:
    """Read-only and without state."""

    @hookimpl
    def vendor(self) -> Vendor:
        return Vendor(
            sdk="openai",
            seams=(
                CallSeam("openai._base_client", "SyncAPIClient.request", "sync"),
                CallSeam("openai._base_client", "AsyncAPIClient.request", "async"),
            ),
            patches=credentials.PATCHES,
        )

    # Last, because it claims by path on any host: a vendor's own plugin knows its own host better.
    @hookimpl(trylast=True)
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        if request.sdk not in (None, NAME):
            return None  # inside another vendor's SDK
        if request.header("anthropic-version") is not None:
            return None
        host = hosts.name(request)
        operation = operations.of(request, own=request.sdk == NAME, known=host.known)
        if operation is None:
            return None
        # On any host, and not inside an SDK, the path alone may be a survey's or a form's.
        sure = request.sdk == NAME or host.known or request.through is not None
        return _claim(host.vendor, operation, sure)

    @hookimpl
    def reconcile_call(self, doubt: Doubt) -> Questions | None:
        return reconcile.questions(doubt) if doubt.claim.plugin == NAME else None

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return reading.read(exchange) if exchange.claim.plugin == NAME else None
