"""What a URL of Google's says: who answers, what is asked for, of which model, where.

Sources: the REST references of the Gemini API and of Vertex AI; URLs as the google-genai SDK builds them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from custody.plugin import RequestHead

DEVELOPER, VERTEX = "Google Gemini API", "Google Vertex AI"

_DEVELOPER_HOST = re.compile(r"generativelanguage(?:\.mtls)?\.googleapis\.com")
_VERTEX_HOST = re.compile(r"(?:[a-z0-9-]+-)?aiplatform(?:\.mtls|\.[a-z0-9-]+\.rep)?\.googleapis\.com")
_PATH = re.compile(
    r"(?P<base>.*?)/(?:(?:resumable/)?upload/|download/)?(?P<version>v\d+(?:(?:alpha|beta)\d*)?)"
    r"(?:/projects/(?P<project>[^/:]+))?(?:/locations/(?P<location>[^/:]+))?"
    r"(?:/publishers/(?P<publisher>[^/:]+))?(?:/(?P<rest>[^:]*))?(?::(?P<method>\w+))?"
)
_ONLY_PATH = re.compile(r"(?:.*/)?(?:models|tunedModels|endpoints)/[^/:]+:\w+")

METHODS = {
    "generateContent": "generate_content",
    "streamGenerateContent": "generate_content",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "countTokens": "count_tokens",
    "computeTokens": "count_tokens",
    "predict": "predict",
    "predictLongRunning": "video_generation",
    "fetchPredictOperation": "operations",
    "batchGenerateContent": "batches",
    "asyncBatchEmbedContent": "batches",
    "rawPredict": "other",
    "streamRawPredict": "other",
}
UNMISTAKABLE = frozenset("generateContent streamGenerateContent embedContent batchEmbedContents countTokens".split())
RESOURCES = {
    "models": "models",
    "tunedModels": "tuning",
    "tuningJobs": "tuning",
    "files": "files",
    "cachedContents": "caches",
    "batches": "batches",
    "batchPredictionJobs": "batches",
    "interactions": "interactions",
    "fileSearchStores": "files",
    "operations": "operations",
    "endpoints": "other",
}


class Place(NamedTuple):
    """``vendor`` is None where the host is nobody's that is known; ``publisher`` is whose model it is."""

    vendor: str | None
    version: str | None = None
    project: str | None = None
    location: str | None = None
    publisher: str | None = None
    rest: str = ""
    method: str | None = None

    @property
    def model(self) -> str | None:
        """The model in the path, or the endpoint where one is asked instead."""
        kind, _, name = self.rest.partition("/")
        if kind == "models" and name:
            return name
        return self.rest if kind in ("tunedModels", "endpoints") and name and self.method else None

    @property
    def operation(self) -> str | None:
        """In OpenTelemetry's words where they exist; None for what is not in the references."""
        if self.method == "predict":
            name = self.model or ""
            return "image_generation" if "imag" in name else "embeddings" if "embedding" in name else "predict"
        if self.method in METHODS:
            return METHODS[self.method]
        if "operations" in self.rest.split("/"):
            return "operations"
        return RESOURCES.get(self.rest.partition("/")[0])


def of(request: RequestHead) -> Place:
    """What the URL says; of a host that is not Google's only what its path says beyond doubt."""
    host, path = (request.parts.hostname or "").lower(), request.parts.path
    vendor = DEVELOPER if _DEVELOPER_HOST.fullmatch(host) else VERTEX if _VERTEX_HOST.fullmatch(host) else None
    found = _PATH.fullmatch(path)
    if found is None:
        name = _ONLY_PATH.fullmatch(path)  # a gateway that takes the version away
        if name is None:
            return Place(vendor)
        rest, _, method = path.rpartition(":")
        return Place(vendor, rest="/".join(rest.split("/")[-2:]), method=method)
    return Place(
        vendor,
        found["version"],
        found["project"],
        found["location"],
        found["publisher"],
        found["rest"] or "",
        found["method"],
    )
