"""What can be said of an exchange without knowing its vendor."""

from __future__ import annotations

from custody.exchange import Exchange
from custody.hookspecs import hookimpl
from custody.record import Forensics, found


class Plugin:
    @hookimpl(trylast=True)
    def extract_forensics(self, exchange: Exchange) -> Forensics:
        seen = exchange.request.method != "CALL"  # else it is what the SDK returned, and no host was asked
        vendor = found(exchange.claim.vendor, *(("url", "host") if seen else ("derived", "the SDK's arguments")))
        forensics = Forensics(findings={"vendor": vendor})
        if exchange.head is None:
            forensics.usage_reason = "no_response"
        elif exchange.ending != "complete":
            forensics.usage_reason = "response_incomplete"
        return forensics
