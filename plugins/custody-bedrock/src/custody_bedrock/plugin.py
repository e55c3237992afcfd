"""The plugin: its call seam, what it claims, what it reads."""

from __future__ import annotations

from custody.plugin import CallSeam, Claim, Event, Exchange, Forensics, RequestHead, Terminal, Vendor, hookimpl
from custody_bedrock import address, reading, streams

NAME = "bedrock"
VENDOR = "Amazon Bedrock"

# botocore's own: an id of the call, the number of the attempt, and a trace, made anew for every request.
_KEY_IGNORE = frozenset({"amz-sdk-invocation-id", "amz-sdk-request", "x-amzn-trace-id"})


class BedrockPlugin:
    """Read-only and without state."""

    @hookimpl
    def vendor(self) -> Vendor:
        # The method serves every service of AWS; requests of the others are not claimed, and pass untouched.
        seam = CallSeam("botocore.client", "BaseClient._make_api_call", "sync", client=("_endpoint.http_session",))
        return Vendor(sdk="boto3", seams=(seam,))

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        if request.sdk not in (None, NAME):
            return None
        known = address.is_bedrock(request)
        if not known and request.sdk != NAME:
            return None
        found = address.of(request)
        if found is None:
            return None
        vendor = VENDOR if known else request.parts.netloc.rpartition("@")[2]
        return Claim(NAME, vendor, found.operation, stream_end, _KEY_IGNORE)

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return reading.read(exchange) if exchange.claim.plugin == NAME else None


def stream_end(event: Event) -> Terminal | None:
    """See ``streams.end``."""
    return streams.end(event)
