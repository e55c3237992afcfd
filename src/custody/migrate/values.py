"""Values under the many names that older programs gave them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

RESPONSE = ("raw_response", "content", "analysis_response", "response", "response_text", "text", "analysis", "output")
_MODEL = ("model_name", "model", "requested_model", "llm_model")
_RUN = ("run_num", "run_number", "run", "replicate", "run_id")
_CORPUS = ("corpus_file", "file_name", "filename", "corpus_filename", "document", "file")
_AGENT = ("agent_id", "agent_name", "agent")
_PROMPT = ("prompt", "full_prompt", "prompt_text", "request")
_METADATA = ("llm_metadata", "metadata", "response_metadata")

_AGENT_FIRST = re.compile(r"(?P<agent>[A-Za-z_]+?)_run_?(?P<run>\d{1,6})_(?P<rest>.+)", re.DOTALL)
_AGENT_LAST = re.compile(r"(?P<agent>[A-Za-z]+_agent)_(?P<rest>.+)_run_?(?P<run>\d{1,6})", re.DOTALL)

_NAMED = re.compile(r"^[ \t]*(?:corpus[ _])?file(?:name)?[ \t]*:[ \t]*(?P<name>[^\r\n]{1,255}?)[ \t]*$", re.I | re.M)

# An error in place of an answer: what a caller's `except` wrote down, or what a client library says of itself.
_ERROR_TEXT = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\W{0,4}traceback \(most recent call last\)",
        r"\W{0,4}(?:an )?(?:[a-z_]+\.)*(?:[a-z]*error|[a-z]*exception)\]?\W{0,3}[:(]",
        r"\W{0,4}error\]?\s*(?:-|\u2013|code\b|occurred|calling|(?:in|from) (?:the )?(?:llm|api|model))",
        r"\W{0,4}(?:the |an? )?(?:(?:llm|api|gateway|request|completion)(?: (?:call|request|analysis|api))*"
        r"|(?:model|agent) (?:call|request|api))"
        r"(?: (?:for|to|of) [^\n]{1,100}?)? (?:has |have )?(?:failed|errored|timed out)\b",
        r"\W{0,4}(?:analysis|all retries|all attempts) failed\s*(?::|\.|$)",
        r"\W{0,4}(?:failed|unable) to (?:call|get|complete|reach|connect|generate|obtain|parse)\b",
        r"\W{0,4}litellm\.",
    )
)
_SHORT = 2000  # characters; an analysis that begins with such words is longer than an error's text
_ERROR_KEYS = frozenset("error message code status type detail details success param model request_id".split())


def first_text(data: dict[str, Any], names: Iterable[str]) -> str | None:
    """The first of ``names`` that is a text, an empty one included."""
    return next((value for name in names if isinstance(value := data.get(name), str)), None)


def response(data: dict[str, Any]) -> str | None:
    """The response's text; what is stored as an object is written as JSON."""
    text = first_text(data, RESPONSE)
    if text is not None:
        return text
    value = next((data[name] for name in RESPONSE if isinstance(data.get(name), (dict, list))), None)
    return None if value is None else json.dumps(value, ensure_ascii=False)


def prompt(data: dict[str, Any]) -> str | None:
    return first_text(data, _PROMPT)


def model(*sources: dict[str, Any]) -> str | None:
    return next((text for data in sources if (text := first_text(data, _MODEL))), None)


def agent(*sources: dict[str, Any]) -> str | None:
    return next((text for data in sources if (text := first_text(data, _AGENT))), None)


def run(*sources: dict[str, Any]) -> int | None:
    for data in sources:
        for name in _RUN:
            value = data.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6:
                return value
            if isinstance(value, str) and re.fullmatch(r"(?:run[_ -]?)?\d{1,6}", value):
                return int(re.sub(r"\D", "", value))
    return None


def corpus_file(*sources: dict[str, Any]) -> str | None:
    """The document's name without its folders, which were another machine's."""
    text = next((text for data in sources if (text := first_text(data, _CORPUS))), None)
    return name_of(text) if text else None


def name_of(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name or path


def metadata(data: dict[str, Any]) -> dict[str, Any]:
    """What a record says of the LLM call: its own object for it, or itself."""
    inner = next((data[name] for name in _METADATA if isinstance(data.get(name), dict)), None)
    if inner is None:
        return data
    deeper = metadata(inner) if any(isinstance(inner.get(name), dict) for name in _METADATA) else inner
    return {**data, **inner, **deeper}


def usage(data: dict[str, Any]) -> dict[str, Any]:
    found = data.get("usage") or data.get("token_usage") or data.get("tokens")
    return found if isinstance(found, dict) else {}


def attempts(data: dict[str, Any]) -> int | None:
    value = data.get("attempts")
    if isinstance(value, list):
        return len(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1000 else None


def error(data: dict[str, Any]) -> str | None:
    """What a record says went wrong; None where it says nothing."""
    value = data.get("error") or data.get("error_message")
    if value in (None, "", False, [], {}):
        return "success is false" if data.get("success") is False else None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def is_error_text(text: str) -> bool:
    """Whether a response is an error that was stored in an answer's place."""
    start = text.strip()
    if not start:
        return False
    if start.startswith("{"):
        try:
            value = json.loads(start) if len(start) < 20_000 else None
        except (ValueError, RecursionError):
            value = None
        return isinstance(value, dict) and bool(value.get("error")) and _ERROR_KEYS.issuperset(value)
    return len(start) <= _SHORT and any(pattern.match(start) for pattern in _ERROR_TEXT)


def file_in_prompt(text: str | None) -> str | None:
    """The document that a prompt names on a line of its own (``File: speech.txt``), if it names just one."""
    if not text:
        return None
    names = {name_of(found["name"].strip("`'\"* ")) for found in _NAMED.finditer(text)}
    names = {name for name in names if "." in name}
    return names.pop() if len(names) == 1 else None


def agent_parts(name: str | None, known_model: str | None) -> tuple[str | None, int | None, str | None]:
    """Kind of agent, run and document's stem in an agent's id; the stem only where the model is known."""
    found = (_AGENT_FIRST.fullmatch(name) or _AGENT_LAST.fullmatch(name)) if name else None
    if found is None:
        return None, None, None
    rest, stem = found["rest"], None
    if known_model:
        for written in (re.sub(r"[/:]", "_", known_model), known_model.replace("/", "_")):
            if rest.startswith(f"{written}_"):
                stem = rest.removeprefix(f"{written}_")
                break
    if stem is not None and stem.isdigit():
        stem = None  # the document's number in some list, not its name
    return found["agent"], int(found["run"]), stem
