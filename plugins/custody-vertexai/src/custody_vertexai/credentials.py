"""Google's credentials are asked for when a request is really sent, so that a replay needs none.

Over gRPC the channel asks them then anyway. Over REST the SDK puts a token into the headers first: there
it becomes a placeholder, which the wire seam fills in on a miss. And a machine without credentials is
told so when a token is needed, not when a client is made.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
from typing import Any

from custody.plugin import current_call, defer

_VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ON_GOOGLE = ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP", "K_SERVICE", "CLOUD_RUN_JOB", "GAE_INSTANCE")


class Sessions:
    """How many sessions are open in this process: without one, nothing here does anything."""

    def __init__(self) -> None:
        self._open = 0
        self._lock = threading.Lock()

    def opened(self) -> None:
        with self._lock:
            self._open += 1

    def closed(self) -> None:
        with self._lock:
            self._open = max(0, self._open - 1)

    def __bool__(self) -> bool:
        return self._open > 0


_ASKING = ("google.cloud.aiplatform", "google.genai", "vertexai")

sessions = Sessions()


def token_later(original: Any) -> Any:
    """``Credentials.before_request``: in an SDK's call over REST the header is a placeholder.

    gRPC asks when it sends, in the context in which its channel was made: it gives a method's name for a verb.
    """

    @functools.wraps(original)
    def before_request(self: Any, request: Any, method: str, url: str, headers: Any) -> Any:
        if current_call() is None or method not in _VERBS:
            return original(self, request, method, url, headers)

        def resolve() -> str:
            real: dict[str, str] = {}
            original(self, request, method, url, real)
            return real.get("authorization", "")

        headers["authorization"] = defer(resolve)
        if self.quota_project_id:
            headers["x-goog-user-project"] = self.quota_project_id
        return None

    return before_request


def machine_later(original: Any) -> Any:
    """``_get_gce_credentials``, the last place where default credentials are looked for.

    On a machine of Google's it is asked at once, as ever. Elsewhere it would wait for seconds for a server that
    is not there; in a session that is put off until a token is needed, and an error with it.
    """

    @functools.wraps(original)
    def get(request: Any = None, quota_project_id: str | None = None) -> Any:
        if not sessions or not _for_vertex() or _on_google():
            return original(request, quota_project_id=quota_project_id)
        return _later(functools.partial(original, request, quota_project_id=quota_project_id)), None

    return get


def _for_vertex() -> bool:
    """Whether one of the SDKs for Vertex AI asks: other clients of Google's, and the program, learn at once that
    there are no credentials."""
    frame = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(_ASKING):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _on_google() -> bool:
    if any(os.environ.get(name) for name in _ON_GOOGLE):
        return True
    metadata: Any = importlib.import_module("google.auth.compute_engine._metadata")
    return bool(metadata.detect_gce_residency_linux())


def _later(find: Any) -> Any:
    """Credentials that are looked for when they are needed."""
    auth: Any = importlib.import_module("google.auth._default")
    base: Any = importlib.import_module("google.auth.credentials").Credentials

    class Later(base):  # type: ignore[misc]
        """Of a machine on which none were found, so far."""

        _found: Any = None

        def refresh(self, request: Any) -> None:
            if self._found is None:
                self._found, _ = find()
            if self._found is None:
                raise auth.exceptions.DefaultCredentialsError(auth._CLOUD_SDK_MISSING_CREDENTIALS)
            self._found.refresh(request)
            self.token, self.expiry = self._found.token, self._found.expiry

    made = Later()
    made.token = None
    return made
