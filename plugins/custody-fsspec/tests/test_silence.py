"""A server that is silent is not waited for again and again, and is asked again when it speaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from small_s3 import SmallS3

pytest.importorskip("obstore", reason="obstore is not installed: pip install 'custody-fsspec[s3]'")
from custody_fsspec import on_obstore
from custody_fsspec.on_obstore import ObstoreObjects
from custody_fsspec.settings import Settings


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    server = SmallS3()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in (("AWS_ENDPOINT_URL", server.endpoint), ("AWS_ACCESS_KEY_ID", "a"),
                        ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    yield server
    server.shutdown()


def test_silence_is_waited_for_once_and_ends(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_obstore, "_SILENT", 1.0)
    objects = ObstoreObjects("s3://bucket/x", "s3", Settings(timeout=2, patience=1))
    assert objects.put_new("a", b"1")
    server.delay = 3600
    with pytest.raises(OSError, match="did not answer in time"):
        objects.put_new("b", b"1")
    begun = time.monotonic()
    for _ in range(5):
        with pytest.raises(OSError, match="a moment ago"):
            objects.get("a")
    assert time.monotonic() - begun < 0.5
    server.delay = 0.0
    time.sleep(1.1)
    assert objects.put_new("c", b"1"), "it speaks again, and nobody listens"
    assert objects.get("a")[0] == b"1"
