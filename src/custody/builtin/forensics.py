"""What can be said of an exchange without knowing its vendor."""

from __future__ import annotations

from functools import lru_cache

from custody.exchange import Exchange
from custody.hookspecs import hookimpl
from custody.record import Finding, Forensics, found


@lru_cache(maxsize=256)
def _vendor(name: str, seen: bool) -> Finding:
    return found(name, "url", "host") if seen else found(name, "derived", "the SDK's arguments")


class Plugin:
    @hookimpl(trylast=True)
    def extract_forensics(self, exchange: Exchange) -> Forensics:
        seen = exchange.request.method != "CALL"  # else it is what the SDK returned, and no host was asked
        forensics = Forensics({"vendor": _vendor(exchange.claim.vendor, seen)})
        if exchange.head is None:
            forensics.usage_reason = "no_response"
        elif exchange.ending != "complete":
            forensics.usage_reason = "response_incomplete"
        return forensics
