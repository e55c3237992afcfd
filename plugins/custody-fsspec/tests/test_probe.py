"""What a server can do is found out before anything depends on it."""

from __future__ import annotations

import socket
import time

import pytest
from custody_fsspec import probe
from custody_fsspec.opening import open_url
from custody_fsspec.settings import Settings
from small_s3 import SmallS3, small_s3

from custody.errors import SeveralWritersRefused
from custody.plugin import Capable, Clocked, Compacting
from custody.storage.leases import Leased
from custody.storage.sharing import require_put_if_absent

pytest.importorskip("obstore", reason="obstore is not installed: pip install 'custody-fsspec[s3]'")


def opened(server: SmallS3, monkeypatch: pytest.MonkeyPatch, patience: float = 0.3):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    return open_url("s3://bucket/study", settings=Settings(patience=patience, client="obstore"))


def test_a_server_that_honours_the_condition_serves_several_writers(server: SmallS3, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    storage = opened(server, monkeypatch)
    assert isinstance(storage, Capable) and isinstance(storage, Clocked) and isinstance(storage, Compacting)
    assert isinstance(storage, Leased)
    assert storage.capabilities == (True, "server", "", True, "name")
    require_put_if_absent(storage)
    assert server.objects == {}, "the probe left something behind"


@pytest.mark.parametrize(("how", "reason"), [("ignored", "does not look at If-None-Match"), ("refused", "501")])
def test_a_server_without_put_if_absent_serves_one_writer(how: str, reason: str, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    with small_s3(how) as server:
        storage = opened(server, monkeypatch)
        assert storage.capabilities.put_if_absent is False
        assert not isinstance(storage, Leased)
        for said in (storage.capabilities.why_not, storage.not_shared):
            assert reason in said
        with pytest.raises(SeveralWritersRefused, match=reason):
            require_put_if_absent(storage)
        assert storage.put_if_absent("object", b"1") is True
        assert storage.put_if_absent("object", b"2") is False
        log = storage.create_log("log.jsonl")
        with pytest.raises(FileExistsError):
            storage.create_log("log.jsonl")
        for _ in range(3):
            log.append(b"line\n")
            log.sync()
        events = storage.shared_log("events.jsonl")
        for _ in range(3):
            events.append(lambda last: [b"%d\n" % (int(last or b"0") + 1)])
        storage.compact("log.jsonl")
        assert (storage.read("log.jsonl"), storage.read("events.jsonl")) == (b"line\n" * 3, b"1\n2\n3\n")
        held = storage.lock("owner.lock")
        assert held is not None and storage.lock("owner.lock") is None, "on one machine the kernel keeps apart"
        held.release()


def test_a_bucket_is_probed_once(server: SmallS3, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    opened(server, monkeypatch)
    server.asked.clear()
    opened(server, monkeypatch)
    assert server.asked == []


def test_whoever_may_only_read_reads(server: SmallS3, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    server.objects["study/object"] = b"1", time.time()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setattr(probe, "_probe", _refuse)
    with pytest.raises(PermissionError):
        open_url("s3://bucket/study", create=True)
    storage = open_url("s3://bucket/study", create=False)
    assert storage is not None
    assert storage.read("object") == b"1"
    assert not isinstance(storage, Leased)


def _refuse(_: object) -> str:
    raise PermissionError("not permitted")


@pytest.mark.parametrize("listening", [True, False])
def test_a_server_that_does_not_answer_is_an_error_in_bounded_time(listening: bool, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        if listening:
            made.listen(1)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.getsockname()[1]}")
        with pytest.raises(OSError, match=r"did not answer in time|no connection|broke"):
            open_url("s3://bucket/study", settings=Settings(patience=0.5, timeout=1.0, client="obstore"))


def test_errors_name_the_object_and_no_credential(server: SmallS3, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canarysecret")
    storage = opened(server, monkeypatch)
    server.fail = 403
    for use in (lambda: storage.read("a/b"), lambda: storage.put("a/b", b""), lambda: list(storage.list())):
        with pytest.raises(PermissionError) as raised:
            use()
        text = f"{raised.value!r} {storage!r} {storage.url}"
        assert "s3://bucket/study/" in str(raised.value)
        assert "403" in str(raised.value)
        assert raised.value.__cause__ is None and raised.value.__suppress_context__
        for secret in ("AKIACANARY", "canarysecret", "SECRET in it", "Signature"):
            assert secret not in text
