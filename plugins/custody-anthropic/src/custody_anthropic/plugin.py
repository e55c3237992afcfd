"""The plugin: its call seams, what it claims, what it reads."""

from __future__ import annotations

from custody.plugin import CallSeam, Claim, Event, Exchange, Forensics, RequestHead, Terminal, Vendor, hookimpl
from custody_anthropic import credentials, events, platforms, reading

NAME = "anthropic"


class AnthropicPlugin:
    """Read-only and without state."""

    @hookimpl
    def vendor(self) -> Vendor:
        return Vendor(
            sdk="anthropic",
            seams=(
                CallSeam("anthropic._base_client", "SyncAPIClient.request", "sync"),
                CallSeam("anthropic._base_client", "AsyncAPIClient.request", "async"),
            ),
            patches=credentials.PATCHES,
        )

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        own = request.sdk == NAME
        if request.sdk not in (None, NAME) or not (own or platforms.is_ours(request)):
            return None
        address = platforms.address(request)
        if address is None and not own:
            return None
        operation = address.operation if address is not None else "other"
        return Claim(NAME, platforms.vendor(request), operation, stream_end)

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return reading.read(exchange) if exchange.claim.plugin == NAME else None


def stream_end(event: Event) -> Terminal | None:
    """See ``events.end``."""
    return events.end(event)
