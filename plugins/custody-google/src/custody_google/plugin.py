"""The plugin: its call seams, what it claims, what it reads."""

from __future__ import annotations

from custody.plugin import CallSeam, Claim, Exchange, Forensics, Patch, RequestHead, Vendor, hookimpl
from custody_google import credentials, paths, reading, streams

NAME = "google"

_CLIENT = "google.genai._api_client"
_NEXT = "google.genai._gaos.basesdk"  # client.interactions and what is new beside it
_BEFORE = "google.genai._interactions._base_client"  # the same, in the first versions

# Who pays and how long the server may take do not change an answer. The first is derived from credentials,
# which a replay does without.
_BY_CREDENTIALS = frozenset({"x-goog-user-project", "x-server-timeout"})
_BY_KEY = frozenset({"x-server-timeout"})


class GooglePlugin:
    """Read-only and without state."""

    @hookimpl
    def vendor(self) -> Vendor:
        return Vendor(
            sdk="google-genai",
            package="google.genai",
            seams=(
                # Version 3 sends through one inner client for each event loop: any client's requests belong.
                CallSeam(_CLIENT, "BaseApiClient._request", "sync", client=()),
                CallSeam(_CLIENT, "BaseApiClient._async_request", "async", client=()),
                CallSeam(_CLIENT, "BaseApiClient.upload_file", "sync", client=()),
                CallSeam(_CLIENT, "BaseApiClient.async_upload_file", "async", client=()),
                CallSeam(_CLIENT, "BaseApiClient.download_file", "sync", client=()),
                CallSeam(_CLIENT, "BaseApiClient.async_download_file", "async", client=()),
                CallSeam(_NEXT, "BaseSDK.do_request", "sync", client=()),
                CallSeam(_NEXT, "AsyncBaseSDK.do_request_async", "async", client=()),
                CallSeam(_BEFORE, "SyncAPIClient.request", "sync", client=()),
                CallSeam(_BEFORE, "AsyncAPIClient.request", "async", client=()),
            ),
            patches=(
                Patch(_CLIENT, "BaseApiClient._access_token", credentials.later),
                Patch(_CLIENT, "BaseApiClient._async_access_token", credentials.async_later),
                Patch(_CLIENT, "BaseApiClient._request_once", credentials.quota_later),
                Patch(_CLIENT, "BaseApiClient._async_request_once", credentials.async_quota_later),
            ),
        )

    @hookimpl
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        if request.sdk not in (None, NAME):
            return None
        place = paths.of(request)
        operation = self._operation(request, place)
        if operation is None:
            return None
        vendor = place.vendor or request.parts.netloc.rpartition("@")[2]
        ignored = _BY_KEY if request.header("authorization") is None else _BY_CREDENTIALS
        # The address to which a file is sent next; it is not kept (a credential), and would be stale.
        address = request.header("x-goog-upload-command") == "start"
        return Claim(NAME, vendor, operation, streams.stream_end, ignored, fleeting=address)

    def _operation(self, request: RequestHead, place: paths.Place) -> str | None:
        own = request.sdk == NAME
        if request.parts.scheme in ("ws", "wss"):
            return "realtime" if "BidiGenerateContent" in request.parts.path else None
        if place.publisher not in (None, "google") and not own:
            return None  # another vendor's model, and its plugin's
        if place.vendor is not None:
            return place.operation or ("other" if own else None)
        host = (request.parts.hostname or "").lower()
        if host.endswith((".googleapis.com", ".google.com", ".google.internal")):
            return None  # tokens, storage, metadata
        if own:
            return place.operation  # not "other": a token's or a metadata server's path has a version, too
        sure = request.method == "POST" and place.method in paths.UNMISTAKABLE and place.model is not None
        return place.operation if sure else None

    @hookimpl
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        return reading.read(exchange) if exchange.claim.plugin == NAME else None
