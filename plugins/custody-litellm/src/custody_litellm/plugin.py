"""The plugin: litellm's calls, and what it sends to vendors that no other plugin claims."""

from __future__ import annotations

from custody.plugin import Claim, Exchange, Forensics, RequestHead, Vendor, hookimpl
from custody_litellm import claims, credentials, reading, router, seams, streams

NAME = claims.NAME


class LitellmPlugin:
    """Read-only; what it keeps of a call under way is in ``router.py``."""

    @hookimpl
    def vendor(self) -> Vendor:
        return Vendor(
            sdk="litellm", seams=seams.seams(), patches=(*credentials.patches(), *router.patches(), *streams.patches())
        )

    @hookimpl(trylast=True)
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        return claims.claim(request) if request.through == NAME else None

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return reading.read(exchange) if exchange.claim.plugin == NAME else None
