"""What the chronolog says of calls is held against the archive."""

from __future__ import annotations

from pathlib import Path

from custody import layout
from custody.report import events
from custody.storage.local import LocalStorage

START = b'{"seq":%d,"time":"t","event":"llm_call_start","call_id":"w-%d","previous_sha256":"x"}\n'
COMPLETE = b'{"seq":%d,"time":"t","event":"llm_call_complete","call_id":"w-%d","success":true,"previous_sha256":"x"}\n'


def followed(folder: Path, data: bytes, *calls: str) -> events.Events:
    storage = LocalStorage(folder)
    storage.put(layout.CHRONOLOG, data)
    found = events.follow(storage, set(calls))
    assert found is not None
    return found


def test_a_call_without_an_event_and_an_event_without_a_call_are_told(tmp_path: Path) -> None:
    data = START % (1, 1) + COMPLETE % (2, 1) + COMPLETE % (3, 2)
    found = followed(tmp_path, data, "w-1", "w-3")
    assert (found.vanished, found.unheard) == (["w-2"], 1)


def test_an_event_in_another_form_is_an_event(tmp_path: Path) -> None:
    data = b'{"call_id": "w-1", "event": "llm_call_reused", "seq": 1}\n'
    assert followed(tmp_path, data, "w-1").unheard == 0


def test_ids_that_no_writer_gives_do_no_harm(tmp_path: Path) -> None:
    found = followed(tmp_path, COMPLETE % (1, 1), "w-1", "w-\udc80")
    assert (found.vanished, found.unheard) == ([], 1)


def test_without_a_chronolog_nothing_is_said(tmp_path: Path) -> None:
    assert events.follow(LocalStorage(tmp_path), {"w-1"}) is None
