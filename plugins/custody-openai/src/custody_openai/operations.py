"""What a request asks for, by its path."""

from __future__ import annotations

from custody.plugin import RequestHead

# Paths that are claimed on any host: OpenAI-compatible servers are known by what they serve.
_COMPATIBLE = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
}

NEEDS = {
    "responses": frozenset({"model", "input"}),
    "text_completion": frozenset({"prompt"}),
    "embeddings": frozenset({"input"}),
}
"""What the body of such a request has, by operation; nothing else has a path that ends in chat/completions."""

# Claimed only inside an SDK of this family or on a host that is known.
_OWN = {
    "/models": "models",
    "/moderations": "moderation",
    "/images/": "image_generation",
    "/audio/": "audio",
    "/files": "files",
    "/uploads": "files",
    "/batches": "batches",
    "/fine_tuning/": "fine_tuning",
    "/fine-tunes": "fine_tuning",
    "/vector_stores": "vector_stores",
    "/assistants": "assistants",
    "/threads": "threads",
    "/responses/": "responses",
    "/conversations": "conversations",
    "/rerank": "rerank",
    "embeddings": "embeddings",  # Voyage's multimodalembeddings, contextualizedembeddings
}


def of(request: RequestHead, *, own: bool, known: bool) -> str | None:
    """The operation, or None where the request is not to be claimed.

    ``own``: it was made inside an SDK of this family, and everything that such an SDK sends is claimed.
    ``known``: its host is a vendor's.
    """
    path = request.parts.path
    if request.parts.scheme in ("ws", "wss"):
        return "realtime" if path.endswith("/realtime") else None
    if request.method.upper() == "POST":
        for suffix, operation in _COMPATIBLE.items():
            if path.endswith(suffix):
                return operation
    if not own and not known:
        return None
    for part, operation in _OWN.items():
        if part in path:
            return operation
    return "other" if own else None
