"""Azure AD tokens and callable keys of the real SDK: asked for on a miss, never on a replay, never on disk."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

import custody
from custody.testing.simulator import Fault, Simulator

VERSION = "2024-10-21"
ASK: Any = {"model": "deployed", "messages": [{"role": "user", "content": "Say something about rivers."}]}
CANARY = "canary-7f3a9c2e-token"  # shaped like nothing that a pattern knows


@pytest.fixture(autouse=True)
def no_credentials_about(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)


class Provider:
    """Hands out a token for every time it is asked, or raises where it must not be asked."""

    def __init__(self) -> None:
        self.asked, self.forbidden = 0, False

    def __call__(self) -> str:
        assert not self.forbidden, "a replay asked for a credential"
        self.asked += 1
        return f"{CANARY}-{self.asked}"

    async def later(self) -> str:
        await asyncio.sleep(0)
        return self()


def sync_credentials(url: str, provider: Any) -> Iterator[Callable[[], Any]]:
    yield lambda: AzureOpenAI(azure_endpoint=url, api_version=VERSION, azure_ad_token_provider=provider)
    yield lambda: OpenAI(base_url=f"{url}/openai/v1", api_key=provider)
    yield lambda: OpenAI(base_url=f"{url}/v1", api_key=provider)


def async_credentials(url: str, provider: Any) -> Iterator[Callable[[], Any]]:
    yield lambda: AsyncAzureOpenAI(azure_endpoint=url, api_version=VERSION, azure_ad_token_provider=provider)
    yield lambda: AsyncAzureOpenAI(azure_endpoint=url, api_version=VERSION, azure_ad_token_provider=provider.later)
    yield lambda: AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=provider.later)


def tokens_sent(sim: Simulator) -> list[str]:
    return [seen.headers["authorization"] for seen in sim.requests]


@pytest.mark.parametrize("which", range(3))
def test_a_provider_is_asked_on_a_miss_only(three_ways: Any, root: Path, which: int) -> None:
    provider = Provider()
    client_of = list(sync_credentials(three_ways.sim.url, provider))[which]

    def scenario() -> Any:
        with client_of() as client:
            whole = client.chat.completions.create(**ASK)
            return [whole, list(client.chat.completions.create(**ASK, stream=True))]

    recorded = three_ways.record(scenario)
    assert tokens_sent(three_ways.sim) == [f"Bearer {CANARY}-1", f"Bearer {CANARY}-2"]
    provider.forbidden = True
    replayed = three_ways.replay(scenario)
    assert dumped(replayed) == dumped(recorded)
    assert_no_canary(root)


@pytest.mark.parametrize("which", range(3))
def test_an_async_provider_is_asked_on_a_miss_only(three_ways: Any, root: Path, which: int) -> None:
    provider = Provider()
    client_of = list(async_credentials(three_ways.sim.url, provider))[which]

    async def scenario() -> Any:
        async with client_of() as client:
            whole = await client.chat.completions.create(**ASK)
            return [whole, [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]]

    recorded = three_ways.record(scenario)
    assert tokens_sent(three_ways.sim) == [f"Bearer {CANARY}-1", f"Bearer {CANARY}-2"]
    provider.forbidden = True
    assert dumped(three_ways.replay(scenario)) == dumped(recorded)
    assert_no_canary(root)


def test_a_token_given_at_once(three_ways: Any, root: Path) -> None:
    def scenario() -> Any:
        with AzureOpenAI(azure_endpoint=three_ways.sim.url, api_version=VERSION, azure_ad_token=CANARY) as client:
            return client.chat.completions.create(**ASK)

    three_ways(scenario)
    assert tokens_sent(three_ways.sim)[-1] == f"Bearer {CANARY}"
    assert_no_canary(root)


def test_every_attempt_asks_again(three_ways: Any, root: Path) -> None:
    provider = Provider()

    def scenario() -> Any:
        client = AzureOpenAI(azure_endpoint=three_ways.sim.url, api_version=VERSION, azure_ad_token_provider=provider)
        with client:
            return client.chat.completions.create(**ASK)

    three_ways.sim.inject(Fault(status=503, retry_after=0.01))
    three_ways.record(scenario)
    assert tokens_sent(three_ways.sim) == [f"Bearer {CANARY}-1", f"Bearer {CANARY}-2"]
    (call,) = three_ways.calls
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [503, 200]
    provider.forbidden = True
    three_ways.replay(scenario)
    assert_no_canary(root)


@pytest.mark.parametrize("which", range(3))
def test_what_a_provider_raises_reaches_the_program_as_it_is(three_ways: Any, which: int) -> None:
    class Expired(Exception):
        pass

    def provider() -> str:
        raise Expired("log in again")

    client_of = list(sync_credentials(three_ways.sim.url, provider))[which]

    def scenario() -> Any:
        with client_of() as client, pytest.raises(Expired, match="log in again"):
            client.chat.completions.create(**ASK)

    scenario()
    three_ways.record(scenario)
    assert three_ways.sim.count() == 0


@pytest.mark.skipif("_validate_headers" not in vars(OpenAI), reason="this SDK sends a request without any credential")
@pytest.mark.parametrize("value", ["", None])
def test_a_provider_that_gives_nothing_fails_as_it_does_bare(three_ways: Any, value: Any) -> None:
    def failure(client_of: Callable[[], Any]) -> Any:
        with client_of() as client:
            try:
                client.chat.completions.create(**ASK)
            except Exception as error:
                return [type(error), str(error)]
        raise AssertionError("it did not fail")

    for client_of in sync_credentials(three_ways.sim.url, lambda: value):
        bare = failure(client_of)
        asked = three_ways.sim.count()
        assert three_ways.record(lambda client_of=client_of: failure(client_of)) == bare
        assert three_ways.sim.count() == asked


def test_a_header_of_the_programs_own_is_left_alone(three_ways: Any) -> None:
    provider = Provider()

    def scenario() -> Any:
        with OpenAI(
            base_url=f"{three_ways.sim.url}/v1", api_key=provider, default_headers={"Authorization": "Bearer its-own"}
        ) as client:
            of_the_client = client.chat.completions.create(**ASK)
            other = {"Authorization": "Bearer of-the-request"}
            return [of_the_client, client.chat.completions.create(**ASK, extra_headers=other)]

    three_ways(scenario)
    assert tokens_sent(three_ways.sim) == ["Bearer its-own", "Bearer of-the-request"] * 2


def test_threads_that_share_a_client_send_a_token_each(three_ways: Any, root: Path) -> None:
    provider = Provider()

    def scenario() -> Any:
        with OpenAI(base_url=f"{three_ways.sim.url}/v1", api_key=provider) as client:

            def ask(number: int) -> Any:
                said: Any = [{"role": "user", "content": f"Number {number}"}]
                return client.chat.completions.create(model="gpt-4o", messages=said).choices[0].message.content

            with ThreadPoolExecutor(8) as pool:
                return list(pool.map(ask, range(24)))

    recorded = three_ways.record(scenario)
    sent = tokens_sent(three_ways.sim)
    assert len(sent) == 24
    assert all(header.startswith(f"Bearer {CANARY}-") for header in sent)
    provider.forbidden = True
    assert three_ways.replay(scenario) == recorded
    assert_no_canary(root)


def test_a_fresh_process_replays_without_its_provider(three_ways: Any, root: Path, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, sys
            import custody
            from openai import AzureOpenAI

            def provider():
                if os.environ["FORBIDDEN"] == "1":
                    raise RuntimeError("a replay asked for a credential")
                return os.environ["TOKEN"]

            root, url, session = sys.argv[1:]
            strict = os.environ["FORBIDDEN"] == "1"
            with custody.session(project="P", experiment="E", root=root, session=session or None, strict=strict) as s:
                with AzureOpenAI(azure_endpoint=url, api_version="2024-10-21", azure_ad_token_provider=provider) as c:
                    said = [{"role": "user", "content": "Say something."}]
                    whole = c.chat.completions.create(model="deployed", messages=said)
                    parts = list(c.chat.completions.create(model="deployed", messages=said, stream=True))
            print(s.id)
            print(whole.model_dump_json(), [part.model_dump_json() for part in parts])
            """
        )
    )

    def ran(forbidden: str, session: str) -> list[str]:
        environ = {k: v for k, v in os.environ.items() if k != "TOKEN"} | {"FORBIDDEN": forbidden}
        if forbidden == "0":
            environ["TOKEN"] = CANARY
        asked = [sys.executable, str(script), str(root), three_ways.sim.url, session]
        return subprocess.run(asked, env=environ, capture_output=True, text=True, check=True).stdout.splitlines()

    session, recorded = ran("0", "")
    assert tokens_sent(three_ways.sim) == [f"Bearer {CANARY}"] * 2
    three_ways.sim.stop()
    assert ran("1", session) == [session, recorded]
    assert_no_canary(root)


def dumped(value: Any) -> Any:
    return [dumped(v) for v in value] if isinstance(value, list) else value.model_dump()


def assert_no_canary(root: Path) -> None:
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    for path in files:
        data = path.read_bytes()
        assert CANARY.encode() not in data, path
        assert b"custody-deferred-" not in data, path


def test_outside_of_a_session_nothing_is_put_off(three_ways: Any) -> None:
    provider = Provider()
    custody.install()
    client = AzureOpenAI(azure_endpoint=three_ways.sim.url, api_version=VERSION, azure_ad_token_provider=provider)
    with client:
        client.chat.completions.create(**ASK)
    assert tokens_sent(three_ways.sim) == [f"Bearer {CANARY}-1"]
