"""gen4: ``sessions/session_<stamp>/llm_archive/{prompt_NNN.txt, response_NNN.txt, metadata.jsonl}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from custody.migrate import text, times, values
from custody.migrate.legacy import LegacyCall, Reading

NAME = re.compile(r"(?P<kind>prompt|response)_(?P<number>\d{1,9})\.(?:txt|md|json)", re.IGNORECASE)
METADATA = "metadata.jsonl"

_SYSTEM, _USER = "=== SYSTEM PROMPT ===", "=== USER PROMPT ==="
_NUMBER = ("call_number", "interaction", "interaction_id", "call_id", "index", "number", "sequence", "seq", "id", "n")
_FILES = ("response_file", "prompt_file", "response_path", "prompt_path", "file")


def read(folder: str, files: Mapping[str, bytes], session: str) -> list[Reading]:
    """An archive's files, by name. One reading of each; the calls are in the one of the response (the prompt,
    where there is no response)."""
    readings = {name: Reading(f"{folder}/{name}", "gen4", "archive", ids=[session]) for name in files}
    said = _metadata(files.get(METADATA, b""), readings.get(METADATA))
    numbers: dict[int, dict[str, str]] = {}
    for name in sorted(files):
        found = NAME.fullmatch(name)
        if found is not None:
            numbers.setdefault(int(found["number"]), {}).setdefault(found["kind"].lower(), name)
    ordered = sorted(numbers)
    if ordered and said.keys() == {number - 1 for number in ordered}:  # counted from 0 there, from 1 in the names
        said = {number + 1: facts for number, facts in said.items() if number is not None}
    for position, number in enumerate(ordered):
        names = numbers[number]
        facts = said.get(number)
        if facts is None and None in said:  # lines without a number: the n-th is of the n-th call
            facts = said[None].get(str(position))
        response_name, prompt_name = names.get("response"), names.get("prompt")
        own = response_name or prompt_name
        assert own is not None
        call = LegacyCall("gen4", f"{folder}/{own}")
        if prompt_name is not None:
            call.system, call.prompt = _prompt(text.decode(files[prompt_name]))
            if own != prompt_name:
                call.also.append(f"{folder}/{prompt_name}")
        if response_name is not None:
            call.response = text.decode(files[response_name])
        _tell(call, facts or {}, f"{folder}/{METADATA}" if facts else None)
        readings[own].calls.append(call)
        readings[own].saw(call.time)
    return list(readings.values())


def _prompt(whole: str) -> tuple[str | None, str]:
    """System prompt and user prompt of a stored prompt; the whole text where it is not in that form."""
    plain = whole.replace("\r\n", "\n")
    if plain.startswith(f"{_SYSTEM}\n"):
        system, found, user = plain.removeprefix(f"{_SYSTEM}\n").partition(f"\n\n{_USER}\n")
        if found:
            return system, user
        empty, found, user = plain.removeprefix(f"{_SYSTEM}\n").partition(f"\n{_USER}\n")
        if found:
            return empty, user
    if plain.startswith(f"{_USER}\n"):
        return None, plain.removeprefix(f"{_USER}\n")
    return None, whole


def _metadata(data: bytes, reading: Reading | None) -> dict[int | None, dict[str, Any]]:
    """What ``metadata.jsonl`` says, by the call's number; lines without one below None, by their position."""
    by_number: dict[int | None, dict[str, Any]] = {}
    if reading is None:
        return by_number
    plain: dict[str, Any] = {}
    for line in text.lines(data):
        if line.value is None:
            reading.counts["blank_lines" if line.blank else "unreadable_lines"] += 1
            continue
        reading.counts["lines"] += 1
        reading.counts["repr_dicts"] += line.how == "repr"
        number = _number(line.value)
        if number is None:
            plain[str(len(plain))] = line.value
        elif number in by_number:
            same = by_number[number] == line.value
            reading.counts["duplicate_lines"] += same
            by_number[number] = {**by_number[number], **line.value}
        else:
            by_number[number] = line.value
    if plain and not by_number:
        by_number[None] = plain
    return by_number


def _number(value: dict[str, Any]) -> int | None:
    for name in _FILES:
        held = value.get(name)
        found = NAME.fullmatch(values.name_of(held)) if isinstance(held, str) else None
        if found is not None:
            return int(found["number"])
    for name in _NUMBER:
        held = value.get(name)
        if isinstance(held, int) and not isinstance(held, bool):
            return held
        if isinstance(held, str) and (digits := re.fullmatch(r"(?:[A-Za-z]+[_-])?(\d{1,9})", held)):
            return int(digits[1])
    return None


def _tell(call: LegacyCall, facts: dict[str, Any], place: str | None) -> None:
    said = values.metadata(facts)
    scope = facts.get("scope") if isinstance(facts.get("scope"), dict) else {}
    call.agent = values.agent(facts, said)
    call.model = values.model(facts, said)
    call.run = values.run(facts, said, scope)  # type: ignore[arg-type]
    call.corpus_file = _document(facts, said, scope)
    call.usage, call.attempts = values.usage(said), values.attempts(said)
    call.time = times.moment(facts.get("timestamp") or said.get("timestamp") or said.get("time"))
    call.labels_by = {name: "metadata" for name in ("run", "corpus_file") if getattr(call, name) is not None}
    if place is not None:
        call.also.append(place)
    if call.corpus_file is None and (named := values.file_in_prompt(call.prompt)) is not None:
        call.corpus_file, call.labels_by["corpus_file"] = named, "prompt"
    call.error = values.error(said)
    if call.error is not None:
        call.failed = "error"
    elif call.response is not None and values.is_error_text(call.response):
        call.failed = "error_as_response"


def _document(facts: dict[str, Any], said: dict[str, Any], scope: Any) -> str | None:
    """The document, and not one of the archive's own files, which ``file`` may name."""
    named = values.corpus_file(facts, said, scope)
    return None if named is None or NAME.fullmatch(named) else named
