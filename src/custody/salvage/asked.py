"""What a program asks for, as far as it tells which salvaged answer is meant: labels, model, texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from custody.exchange import RequestHead, parse_json

DOCUMENT = ("corpus_file", "document", "doc", "file", "file_name", "filename", "corpus", "text_file")
RUN = ("run", "run_number", "run_num", "replicate", "repetition", "rep")

_MODEL_IN_PATH = re.compile(r"/models/(?P<model>[^/:]+):")


@dataclass(frozen=True)
class Asked:
    """One call of a program.

    Attributes:
        others: labels that name neither document nor run nor stage.
        system, user: the texts of the messages; ``user`` is None where there is not exactly one message of the user.
    """

    labels: Mapping[str, Any]
    document: str | None
    run: int | None
    stage: str | None
    others: tuple[tuple[str, Any], ...]
    model: str | None
    system: str
    user: str | None


def read(labels: Mapping[str, Any], request: RequestHead, body: bytes) -> Asked:
    """The call's labels and what its body says."""
    value = parse_json(body)
    document = next((v for n in DOCUMENT if isinstance(v := labels.get(n), str) and v), None)
    used = {*DOCUMENT, *RUN, "stage"}
    stage = labels.get("stage")
    return Asked(
        labels,
        document,
        _run(labels),
        stage if isinstance(stage, str) else None,
        tuple(sorted((k, v) for k, v in labels.items() if k not in used)),
        _model(request, value),
        *_texts(value if isinstance(value, dict) else {}),
    )


def _run(labels: Mapping[str, Any]) -> int | None:
    for name in RUN:
        value = labels.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and (found := re.fullmatch(r"(?:run|r)?[ _-]?(\d{1,6})", value, re.IGNORECASE)):
            return int(found[1])
    return None


def _model(request: RequestHead, body: Any) -> str | None:
    model = body.get("model") if isinstance(body, dict) else None
    if isinstance(model, str):
        return model
    found = _MODEL_IN_PATH.search(request.parts.path)
    return unquote(found["model"]) if found is not None else None


def _texts(body: dict[str, Any]) -> tuple[str, str | None]:
    """System text, and the user's, of any of the three forms of a request."""
    system = [_text(body.get(name)) for name in ("instructions", "system", "systemInstruction", "system_instruction")]
    given = body.get("messages") or body.get("input") or body.get("contents")
    messages = given if isinstance(given, list) else [{"role": "user", "content": given}] if given else []
    user: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            return "", None
        role = message.get("role", "user")
        content = _text(message.get("content") if "content" in message else message.get("parts"))
        if role in ("system", "developer"):
            system.append(content)
        elif role == "user":
            user.append(content)
        else:
            return "", None  # a conversation
    return "\n\n".join(part for part in system if part), user[0] if len(user) == 1 else None


def _text(value: Any) -> str:
    """The text of a message's content, whole or in parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _text(value.get("parts") if "parts" in value else value.get("text"))
    if isinstance(value, list):
        return "".join(_text(part) for part in value)
    return ""


def labelled(labels: Mapping[str, Any]) -> Asked:
    """What labels alone say."""
    return read(labels, RequestHead("", "", ()), b"")
