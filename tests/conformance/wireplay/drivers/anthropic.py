"""The Anthropic SDK."""

from __future__ import annotations

from typing import Any

from wireplay.drivers.stainless import Stainless
from wireplay.recordings import Recorded

_METHODS = {
    ("POST", "/v1/messages"): "messages.create",
    ("POST", "/v1/messages beta"): "beta.messages.create",
    ("POST", "/v1/complete"): "completions.create",
}


class Anthropic(Stainless):
    sdk = "anthropic"
    plugin = "anthropic"
    hosts = r"api\.anthropic\.com"
    methods = _METHODS

    def path(self, recorded: Recorded) -> str:
        return f"{recorded.path} beta" if recorded.query.get("beta") == "true" else recorded.path

    def make_client(self, recorded: Recorded, *, asynchronous: bool) -> Any:
        import anthropic

        kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return self.client(kind, lambda: kind(api_key="played"))
