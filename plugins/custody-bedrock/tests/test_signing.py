"""Credentials: asked for on a miss only, used as ever then, and never on disk."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ClientError, InvalidEndpointConfigurationError, NoCredentialsError
from botocore.session import Session as BotocoreSession

import custody
from custody.testing.simulator import Fault, Seen, Simulator

ASK: Any = {
    "modelId": "us.anthropic.claude-3-5-haiku-20241022-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Say something about rivers."}]}],
}
KEY, SECRET, TOKEN = "AKIDCANARY0000000001", "canary-secret-access-key-000000000002", "canary-session-token-00000003"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)


@contextlib.contextmanager
def client(url: str, session: Any = None, attempts: int = 3) -> Iterator[Any]:
    config = Config(retries={"total_max_attempts": attempts, "mode": "standard"})
    made = boto3.session.Session(botocore_session=session) if session else boto3.session.Session()
    one = made.client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=config)
    try:
        yield one
    finally:
        one.close()


def converse(url: str, session: Any = None) -> Any:
    with client(url, session) as one:
        return one.converse(**ASK)["output"]


def signature(seen: Seen, host: str) -> str:
    """Signature Version 4 over a request as the server saw it, by AWS's published steps."""
    fields = dict(part.split("=", 1) for part in seen.headers["authorization"].split(" ", 1)[1].split(", "))
    names, (_, day, region, service, end) = fields["SignedHeaders"].split(";"), fields["Credential"].split("/")
    headers = {**seen.headers, "host": host}
    canonical = "\n".join(
        [
            seen.method,
            quote(seen.path, safe="/-_.~"),
            "",
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            ";".join(names),
            seen.body_digest,
        ]
    )
    scope = "/".join((day, region, service, end))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = ("AWS4" + SECRET).encode()
    for part in (day, region, service, end):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
    assert hmac.new(key, text.encode(), hashlib.sha256).hexdigest() == fields["Signature"]
    return fields["SignedHeaders"]


def test_a_request_is_signed_as_without_custody(three_ways: Any) -> None:
    """Every attempt, with the same headers; the signature is right by a second implementation."""
    sim: Simulator = three_ways.sim
    sim.inject(Fault(status=503))
    converse(sim.url)
    sim.inject(Fault(status=503))
    three_ways.record(lambda: converse(sim.url))
    host = sim.url.removeprefix("http://")
    bare, again, recorded, retried = sim.requests
    assert {signature(seen, host) for seen in (bare, again)} == {signature(seen, host) for seen in (recorded, retried)}
    varying = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request"}  # of a retry: its deadline
    for one, other in ((bare, recorded), (again, retried)):
        assert list(one.headers.items() - other.headers.items()) == [
            pair for pair in one.headers.items() - other.headers.items() if pair[0] in varying
        ]
        assert one.headers.keys() == other.headers.keys()
        assert other.headers["x-amz-security-token"] == TOKEN


def test_nothing_secret_is_on_disk(three_ways: Any) -> None:
    """Neither where it went, nor where the vendor says it again in an error."""
    sim: Simulator = three_ways.sim
    three_ways.record(lambda: converse(sim.url))
    secrets = [KEY, SECRET, TOKEN, *(seen.headers["authorization"] for seen in sim.requests)]
    secrets += [seen.headers["authorization"].rpartition("Signature=")[2] for seen in sim.requests]
    for secret in secrets:
        assert [file for file in files(three_ways.root) if secret.encode() in file.read_bytes()] == []
    assert b"x-amz-date" not in b"".join(file.read_bytes() for file in files(three_ways.root)).lower()


def test_what_the_vendor_echoes_is_masked(three_ways: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDINVALID000000001")

    def ask() -> None:
        with pytest.raises(ClientError) as caught:
            converse(three_ways.sim.url)
        assert "AKIDINVALID000000001" in str(caught.value)

    three_ways.record(ask)
    (seen,) = three_ways.sim.requests
    for secret in (seen.headers["authorization"], seen.headers["authorization"].rpartition("Signature=")[2]):
        assert [file for file in files(three_ways.root) if secret.encode() in file.read_bytes()] == []


def files(root: Path) -> list[Path]:
    found = [path for path in root.rglob("*") if path.is_file()]
    assert found
    return found


class Refreshing:
    """Credentials that have to be fetched, as those of a role are."""

    def __init__(self) -> None:
        self.fetched = 0

    def session(self) -> BotocoreSession:
        def fetch() -> dict[str, str]:
            self.fetched += 1
            return {"access_key": KEY, "secret_key": SECRET, "token": TOKEN, "expiry_time": "2099-01-01T00:00:00Z"}

        made = BotocoreSession()
        made._credentials = RefreshableCredentials("", "", "", _PAST, fetch, "test")  # type: ignore[attr-defined]
        return made


_PAST = datetime(2020, 1, 1, tzinfo=UTC)


def test_credentials_are_fetched_on_a_miss_only(three_ways: Any) -> None:
    one = Refreshing()
    recorded = three_ways.record(lambda: converse(three_ways.sim.url, one.session()))
    assert one.fetched == 1
    two = Refreshing()
    assert three_ways.replay(lambda: converse(three_ways.sim.url, two.session())) == recorded
    assert two.fetched == 0


def test_a_failure_of_the_programs_credentials_is_not_taken_for_bedrocks(three_ways: Any) -> None:
    def failing() -> BotocoreSession:
        def fetch() -> dict[str, str]:
            raise ConnectionError("the vault is closed")

        made = BotocoreSession()
        made._credentials = RefreshableCredentials("", "", "", _PAST, fetch, "test")  # type: ignore[attr-defined]
        return made

    def ask() -> Any:
        with pytest.raises(ConnectionError, match="the vault is closed") as caught:
            converse(three_ways.sim.url, failing())
        return type(caught.value).__name__

    assert three_ways.record(ask) == ask()
    assert three_ways.sim.count() == 0
    assert three_ways.calls == []


def test_a_bearer_token_is_used_on_a_miss_only(three_ways: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore sends it over TLS alone, and says so when it signs: on a miss, and never on a replay."""
    recorded = three_ways.record(lambda: converse(three_ways.sim.url))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "canary-bearer-token-0000000004")

    def refused() -> str:
        with pytest.raises(InvalidEndpointConfigurationError) as caught:
            converse(three_ways.sim.url)
        return str(caught.value)

    try:
        converse(three_ways.sim.url)
    except NoCredentialsError:
        pytest.skip("this botocore is older than Bedrock's API keys")
    except InvalidEndpointConfigurationError:
        bare = refused()
    else:
        pytest.skip("this botocore sends the token without TLS, too")
    session, path = three_ways.session, three_ways.path
    assert three_ways.record(refused) == bare
    three_ways.session, three_ways.path = session, path
    assert three_ways.replay(lambda: converse(three_ways.sim.url)) == recorded
    assert [f for f in files(three_ways.root) if b"canary-bearer-token" in f.read_bytes()] == []


def test_handlers_of_the_program_see_the_request_before_it_is_signed(three_ways: Any) -> None:
    """A header that a handler adds before signing is signed and recorded; one that is added after it is sent."""

    def ask() -> None:
        with client(three_ways.sim.url) as one:
            names = one.meta.events
            names.register("before-sign.bedrock-runtime", lambda request, **_: _add(request, "x-study", "rivers"))
            names.register("before-send.bedrock-runtime", lambda request, **_: _add(request, "x-late", "too"))
            one.converse(**ASK)

    ask()
    three_ways.record(ask)
    bare, recorded = three_ways.sim.requests
    host = three_ways.sim.url.removeprefix("http://")
    assert signature(bare, host) == signature(recorded, host)
    assert "x-study" in signature(recorded, host).split(";")
    assert recorded.headers["x-late"] == bare.headers["x-late"] == "too"


def _add(request: Any, name: str, value: str) -> None:
    request.headers[name] = value


def test_other_services_are_left_alone(three_ways: Any) -> None:
    """The simulator serves no other service; what matters is that it is asked, signed, and not recorded."""

    def ask() -> Any:
        one = boto3.session.Session().client("dynamodb", region_name="us-east-1", endpoint_url=three_ways.sim.url)
        with contextlib.closing(one), pytest.raises(ClientError) as caught:
            one.list_tables()
        address = (
            boto3.session.Session()
            .client("s3", region_name="us-east-1")
            .generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
        )
        return [str(caught.value), "Signature=" in address]

    bare = ask()
    assert three_ways.record(ask) == bare
    assert three_ways.calls == []
    one, other = three_ways.sim.requests
    assert one.headers.keys() == other.headers.keys()
    assert other.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=" + KEY)


def test_a_client_of_before_the_session_is_covered(three_ways: Any) -> None:
    with client(three_ways.sim.url) as one:
        three_ways.record(lambda: one.converse(**ASK))
        assert len(three_ways.calls) == 1
    assert custody.open(three_ways.path).calls()[0].success
