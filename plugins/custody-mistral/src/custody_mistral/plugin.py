"""The plugin: its call seams, what it claims, what it reads.

Read in mistralai 1.9, 2.0 and 3.7: ``do_request`` and ``do_request_async`` hold the retries; the package
moved from ``mistralai`` to ``mistralai.client`` with 2.0, the clients' names did not change.
"""

from __future__ import annotations

from custody.plugin import CallSeam, Claim, Exchange, Forensics, RequestHead, Vendor, hookimpl
from custody_mistral import credentials, operations, reading

NAME = "mistral"
HOST = "mistral.ai"
PACKAGES = "mistralai", "mistralai.client", "mistralai.azure.client", "mistralai.gcp.client"


class MistralPlugin:
    """Read-only and without state."""

    @hookimpl
    def vendor(self) -> Vendor:
        return Vendor(
            sdk="mistralai",
            seams=tuple(seam for package in PACKAGES for seam in _seams(package)),
            patches=tuple(patch for package in PACKAGES for patch in credentials.patches(package)),
        )

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        if request.sdk not in (None, NAME):
            return None
        host = (request.parts.hostname or "").lower()
        known = host == HOST or host.endswith(f".{HOST}")
        if request.sdk != NAME and not (known and request.sdk is None):
            return None
        operation = operations.of(request.parts.path)
        if operation == "other" and request.sdk is None:
            return None  # a page or a console, not the API
        vendor = "Mistral" if known else request.parts.netloc.rpartition("@")[2]
        return Claim(NAME, vendor, operation, operations.stream_end)

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return reading.read(exchange) if exchange.claim.plugin == NAME else None


def _seams(package: str) -> tuple[CallSeam, CallSeam]:
    module = f"{package}.basesdk"
    return (
        CallSeam(module, "BaseSDK.do_request", "sync", client=("sdk_configuration.client",)),
        CallSeam(module, "BaseSDK.do_request_async", "async", client=("sdk_configuration.async_client",)),
    )
