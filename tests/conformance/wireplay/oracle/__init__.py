"""The second opinion: what a recording says, read without custody."""

from __future__ import annotations

import re
from collections.abc import Callable

from wireplay.oracle import anthropic, bedrock, cohere, google, mistral, openai
from wireplay.oracle.expected import Asked, Expected, content
from wireplay.recordings import Recorded

__all__ = ["Asked", "Expected", "content", "expect"]

_BY_HOST: dict[str, Callable[[Recorded, Asked], Expected]] = {
    r"api\.(openai|deepseek|groq|voyageai)\.com|api\.together\.(ai|xyz)|.*\.openai\.azure\.com": openai.expect,
    r"api\.anthropic\.com": anthropic.expect,
    r"generativelanguage\.googleapis\.com|.+-aiplatform\.googleapis\.com": google.expect,
    r"bedrock-runtime\..+\.amazonaws\.com": bedrock.expect,
    r"api\.mistral\.ai": mistral.expect,
    r"api\.cohere\.com": cohere.expect,
}


def expect(recorded: Recorded, asked: Asked) -> Expected:
    """What must stand on the call line. Raises StopIteration for a host that nobody wrote an oracle for."""
    return next(read for hosts, read in _BY_HOST.items() if re.fullmatch(hosts, recorded.host))(recorded, asked)
