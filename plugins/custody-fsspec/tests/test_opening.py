"""URLs, options and credentials."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from custody_fsspec.credentials import s3_options
from custody_fsspec.opening import open_url
from custody_fsspec.plugin import FsspecPlugin
from custody_fsspec.settings import Settings
from custody_fsspec.sync import sync
from small_s3 import SmallS3

from custody.plugin import UsageError


@pytest.mark.parametrize("url", ["/a/folder", "file:///a/folder", "nobody-knows-this://a/b"])
def test_what_others_open_is_left_to_them(url: str) -> None:
    assert FsspecPlugin().open_storage(url, True) is None


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///", "s3://bucket/a/../b", "s3://bucket/a?versionId=1", "s3://key:secret@bucket/a"]
)
def test_a_url_that_cannot_be_used_is_the_users_error(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_url(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("CUSTODY_FSSPEC_CLIENT", "boto"), ("CUSTODY_FSSPEC_FLUSH_MS", "-1"), ("CUSTODY_FSSPEC_RETRY_SECONDS", "x")],
)
def test_a_setting_that_cannot_be_used_is_the_users_error(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=name):
        Settings.from_environment()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_ENDPOINT_URL", "nonsense", "no address of a server"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:port", "no address of a server"),
        ("AWS_ENDPOINT_URL", "ftp://key:s3cret@host", "no address of a server"),
        ("AWS_SECRET_ACCESS_KEY", None, "SecretAccessKey is missing"),
        ("AWS_SERVER_SIDE_ENCRYPTION", "s3cret", "refuses its settings"),
    ],
)
def test_what_the_client_cannot_be_made_of_is_the_users_error(
    name: str, value: str | None, said: str, server: SmallS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of it would be a panic in Rust, which is no Exception."""
    monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=said) as raised:
        open_url("s3://bucket/study", settings=Settings(patience=0.2, client="obstore"))
    assert "s3cret" not in str(raised.value)


def test_an_error_of_any_file_system_is_one_of_the_storages() -> None:
    """Whatever its class wants to be made of."""
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1"):
        found = open_url("https://127.0.0.1:1/folder")
        assert found is not None
        found.read("object")


def test_what_is_no_url_is_not_synced_in_silence() -> None:
    with pytest.raises(UsageError, match="'nosuch' is no URL"):
        CliRunner().invoke(sync, ["nosuch"], catch_exceptions=False)


def test_settings_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment() == Settings(0.05, 10.0, 30.0, "auto")
    monkeypatch.setenv("CUSTODY_FSSPEC_FLUSH_MS", "20")
    monkeypatch.setenv("CUSTODY_FSSPEC_CLIENT", "fsspec")
    assert Settings.from_environment() == Settings(0.02, 10.0, 30.0, "fsspec")


def test_folders_below_one_root_do_not_see_each_other(server: SmallS3) -> None:
    above, below = open_url("s3://bucket/study"), open_url("s3://bucket/study/experiment/session/")
    assert above is not None and below is not None
    below.put("a/object", b"1")
    log = below.create_log("log.jsonl")
    log.append(b"line\n")
    log.close()
    assert below.url == "s3://bucket/study/experiment/session"
    assert above.read("experiment/session/a/object") == b"1"
    assert [e.name for e in above.list("experiment/")] == [
        "experiment/session/a/object",
        "experiment/session/log.jsonl",
    ]
    assert list(above.folders()) == ["experiment"]
    assert list(below.folders()) == ["a", "log.jsonl"]
    assert list(below.folders("a")) == ["object"]
    other = open_url("s3://bucket/study-2")
    assert other is not None and list(other.list()) == []


def test_objects_are_encrypted_by_the_server_where_that_is_asked(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "aws:kms")
    monkeypatch.setenv("AWS_SSE_KMS_KEY_ID", "a-key")
    storage = open_url("s3://bucket/study")
    assert storage is not None
    storage.put("object", b"1")
    assert server.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert server.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "a-key"


def test_http_is_for_loopback_unless_it_is_allowed(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://storage.invalid:9")
    with pytest.raises(UsageError, match="AWS_ALLOW_HTTP"):
        open_url("s3://bucket/study", settings=Settings(patience=0.1, client="obstore"))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(OSError, match=r"s3://bucket/study"):
        open_url("s3://bucket/study", settings=Settings(patience=0.1, client="obstore"))


def test_keys_of_a_profile_are_read_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = AKIA\naws_secret_access_key = hidden\n")
    (tmp_path / "config").write_text("[profile lab]\nregion = eu-central-1\nendpoint_url = https://s3.lab.example\n")
    environment = {
        "AWS_PROFILE": "lab",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    options, endpoint = s3_options(environment)
    assert endpoint == "https://s3.lab.example"
    assert options == {
        "endpoint": "https://s3.lab.example",
        "region": "eu-central-1",
        "access_key_id": "AKIA",
        "secret_access_key": "hidden",
    }
    assert "access_key_id" not in s3_options({**environment, "AWS_ACCESS_KEY_ID": "other"})[0]
