"""Calls whose requests differ (fallbacks), calls keyed at the call level, and calls that nobody saw on the wire."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.errors import ReplayMiss
from custody.testing.simulator import Fault, Simulator

SDK = '''
import itertools, random
import httpx2

rust = itertools.count(1)


class Router:
    """Tries its deployments in any order."""

    def __init__(self, *urls, choose=random.choice):
        self.urls, self.choose = list(urls), choose

    def pick(self):
        return self.choose(self.urls)

    def ask(self, text):
        failed = []
        for _ in range(4):
            url = self.pick()
            answer = post(url, text)
            if answer.status_code == 200:
                return answer.json()["choices"][0]["message"]["content"]
        raise RuntimeError("no deployment answered")


def post(url, text):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
    return httpx2.post(f"{url}/chat/completions", json=body, headers={"authorization": "Bearer sk-toy"})


def fall_back(*urls, text):
    for url in urls:
        try:
            answer = post(url, text)
        except httpx2.ConnectError:
            continue
        if answer.status_code == 200:
            return answer.json()["choices"][0]["message"]["content"]
    raise RuntimeError("nobody answered")


def compiled(text, source="unseen"):
    return {"said": f"{text} {next(rust)}"}


async def acompiled(text, source="unseen"):
    return compiled(text, source)
'''

PLUGIN = """
from custody.plugin import CallResult, CallSeam, Patch, Vendor, current_call, hookimpl


def described(args, kwargs):
    return {"ask": args[-1] if args else kwargs["text"]}


def result(args, kwargs, value):
    if value is None or kwargs.get("source") == "nothing":
        return None
    return CallResult(kwargs.get("source", "unseen"), "Toy", "chat", described(args, kwargs), value)


def steer(original):
    def pick(self):
        call = current_call()
        if call is not None and call.archived:
            return call.archived["chosen"][-1]
        chosen = original(self)
        if call is not None:
            picked.setdefault(id(call), []).append(chosen)
            call.annotate("chosen", picked[id(call)])
        return chosen
    return pick


picked = {}


class Plugin:
    @hookimpl
    def vendor(self):
        levelled = dict(client=(), describe=described, result=result, rebuild=lambda args, kwargs, value: value)
        return Vendor("toy", (
            CallSeam("toy_sdk", "Router.ask", "sync", client=(), mixed=True, describe=described, keyed=True),
            CallSeam("toy_sdk", "fall_back", "sync", client=(), mixed=True),
            CallSeam("toy_sdk", "compiled", "sync", **levelled),
            CallSeam("toy_sdk", "acompiled", "async", **levelled),
            CallSeam("toy_later", "Client.gone", "sync"),
        ), package="toy_sdk", patches=(Patch("toy_sdk", "Router.pick", steer),))
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A toy SDK with its plugin, installed for this test."""
    home = tmp_path / "home"
    info = home / "toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\ntoy = toy_plugin:Plugin\n")
    (home / "toy_plugin.py").write_text(PLUGIN)
    (home / "toy_sdk.py").write_text(SDK)
    (home / "toy_later.py").write_text("class Client: there = True")
    monkeypatch.syspath_prepend(home)
    yield importlib.import_module("toy_sdk")
    for name in ("toy_sdk", "toy_plugin"):
        sys.modules.pop(name, None)


class Study:
    """Runs a piece of a program in one session, again and again."""

    def __init__(self, root: Path) -> None:
        self.root, self.id = root, ""

    def __call__(self, work: Callable[[], Any], **options: Any) -> Any:
        named = {"session": self.id} if self.id else {"new": True}
        with custody.session(project="P", experiment="E", root=self.root, **named, **options) as session:
            self.id, self.path = session.id, session.path
            return work()

    @property
    def calls(self) -> list[Any]:
        return custody.open(self.path).calls()


@pytest.fixture
def study(root: Path) -> Study:
    return Study(root)


def test_a_fallback_is_an_attempt_of_the_call(toy: Any, study: Study, sim: Simulator) -> None:
    first, second = f"{sim.url}/v1", f"{sim.url}/openai/v1"
    sim.inject(Fault(status=500, path="/v1/chat", body="hello"))
    said = study(lambda: toy.fall_back(first, second, text="hello"))
    (call,) = study.calls
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [500, 200]
    assert len({attempt["request_key"] for attempt in call.fields["attempts"]}) == 2
    assert all(attempt["vendor"] for attempt in call.fields["attempts"])
    asked = sim.count()
    sim.stop()
    assert study(lambda: toy.fall_back(first, second, text="hello"), strict=True) == said
    assert sim.count() == asked == 2


def test_a_dead_deployment_is_dead_on_replay_too(toy: Any, study: Study, sim: Simulator) -> None:
    said = study(lambda: toy.fall_back("http://127.0.0.1:9/v1", f"{sim.url}/v1", text="hello"))
    (call,) = study.calls
    assert [attempt["error"] for attempt in call.fields["attempts"]] == ["ConnectError", None]
    sim.stop()
    assert study(lambda: toy.fall_back("http://127.0.0.1:9/v1", f"{sim.url}/v1", text="hello"), strict=True) == said


def test_another_deployment_by_now_is_a_miss(toy: Any, study: Study, sim: Simulator) -> None:
    study(lambda: toy.fall_back(f"{sim.url}/v1", text="hello"))
    with pytest.raises(ReplayMiss):
        study(lambda: toy.fall_back(f"{sim.url}/openai/v1", text="hello"), strict=True)
    assert sim.count() == 1


def test_a_router_makes_the_same_choice_on_replay(toy: Any, study: Study, sim: Simulator) -> None:
    urls = [f"{sim.url}/v1", f"{sim.url}/openai/v1"]
    sim.inject(Fault(status=500))
    order = itertools.cycle(urls)
    router = toy.Router(*urls, choose=lambda urls: next(order))
    said = study(lambda: [router.ask("one"), router.ask("two"), router.ask("one")])
    assert len(set(said)) == 3
    assert study.calls[0].fields["annotations"] == {"chosen": urls}
    sim.stop()
    reversed_order = itertools.cycle(urls)
    other = toy.Router(*urls, choose=lambda urls: next(reversed_order))
    assert study(lambda: [other.ask("one"), other.ask("two"), other.ask("one")], strict=True) == said
    assert sim.count() == 4


def test_a_call_nobody_saw_is_archived_and_replayed(toy: Any, study: Study, caplog: pytest.LogCaptureFixture) -> None:
    said = study(lambda: [toy.compiled("a"), toy.compiled("a"), toy.compiled("b")])
    assert [call.fields["source"] for call in study.calls] == ["unseen"] * 3
    assert json.loads(study.calls[0].response.content) == said[0]
    assert caplog.text.count("without a request that custody could see") == 1
    assert study(lambda: [toy.compiled("b"), toy.compiled("a"), toy.compiled("a")], strict=True) == [
        said[2],
        said[0],
        said[1],
    ]
    assert len(study.calls) == 3


def test_coroutines_too(toy: Any, study: Study) -> None:
    said = study(lambda: asyncio.run(toy.acompiled("a", source="mock")))
    assert [call.fields["source"] for call in study.calls] == ["mock"]
    assert study(lambda: asyncio.run(toy.acompiled("a", source="mock"))) == said


def test_what_the_plugin_has_nothing_to_say_of_is_no_call(toy: Any, study: Study) -> None:
    study(lambda: toy.compiled("a", source="nothing"))
    assert study.calls == []


def test_a_new_question_after_archived_unseen_ones_goes_on(toy: Any, study: Study, sim: Simulator) -> None:
    first = study(lambda: toy.compiled("a"))
    again = study(lambda: [toy.compiled("a"), toy.compiled("new"), toy.fall_back(f"{sim.url}/v1", text="x")])
    assert again[0] == first
    assert [call.fields["source"] for call in study.calls] == ["unseen", "unseen", "wire"]


def test_an_sdk_that_has_changed_is_still_imported(toy: Any, study: Study, caplog: pytest.LogCaptureFixture) -> None:
    assert study(lambda: importlib.import_module("toy_later").Client.there)
    assert "call seam of toy not patched" in caplog.text
    sys.modules.pop("toy_later")
