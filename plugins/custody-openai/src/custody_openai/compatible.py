"""Other vendors' SDKs that speak OpenAI's protocol: each is a plugin of its own, with one reader for all.

Groq's and Together's are built like OpenAI's: ``_base_client`` has the method with the retries inside.
Voyage's retries in each method of its client, over ``requests`` and aiohttp sessions that nothing on the
client holds. Read in groq 1.7, together 3.1, voyageai 0.5.
"""

from __future__ import annotations

from typing import ClassVar

from custody.plugin import CallSeam, Claim, Exchange, Forensics, RequestHead, Vendor, hookimpl
from custody_openai import hosts, operations, reading, streams


class _Compatible:
    """Claims what passes its own SDK, and what goes to its vendor's host outside of any SDK.

    Attributes:
        name: the plugin's, as its entry point says.
        brand: the vendor's, as ``hosts`` has it.
    """

    name: ClassVar[str]
    brand: ClassVar[str]

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        if request.sdk not in (self.name, None):
            return None
        own = request.sdk == self.name
        host = hosts.name(request)
        if not own and host.vendor != self.brand:
            return None
        operation = operations.of(request, own=own, known=host.known)
        return None if operation is None else Claim(self.name, host.vendor, operation, streams.ends.get(operation))

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return reading.read(exchange) if exchange.claim.plugin == self.name else None


class GroqPlugin(_Compatible):
    """The SDK ``groq``."""

    name, brand = "groq", "Groq"

    @hookimpl
    def vendor(self) -> Vendor:
        return Vendor(
            sdk="groq",
            seams=(
                CallSeam("groq._base_client", "SyncAPIClient.request", "sync"),
                CallSeam("groq._base_client", "AsyncAPIClient.request", "async"),
            ),
        )


class TogetherPlugin(_Compatible):
    """The SDK ``together``, generated since 2.0."""

    name, brand = "together", "Together"

    @hookimpl
    def vendor(self) -> Vendor:
        return Vendor(
            sdk="together",
            seams=(
                CallSeam("together._base_client", "SyncAPIClient.request", "sync"),
                CallSeam("together._base_client", "AsyncAPIClient.request", "async"),
            ),
        )


class VoyagePlugin(_Compatible):
    """The SDK ``voyageai``."""

    name, brand = "voyage", "Voyage AI"

    @hookimpl
    def vendor(self) -> Vendor:
        methods = "embed", "contextualized_embed", "multimodal_embed", "rerank"
        return Vendor(
            sdk="voyageai",
            seams=(
                *(CallSeam("voyageai.client", f"Client.{name}", "sync", client=()) for name in methods),
                *(CallSeam("voyageai.client_async", f"AsyncClient.{name}", "async", client=()) for name in methods),
            ),
        )
