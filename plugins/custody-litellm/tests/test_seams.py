"""Who imports first, what is installed beside, and what is on disk: litellm's calls are recorded once, always."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from custody_litellm.plugin import LitellmPlugin

import custody
from custody.seam.patching import resolve
from custody.sessions import process
from custody.testing.simulator import Fault

ASK: Any = [{"role": "user", "content": "Say something about rivers."}]


def test_every_seam_and_patch_is_there(litellm: Any) -> None:
    """In this version of litellm, whichever it is: a seam that is missing would group nothing, silently."""
    vendor = LitellmPlugin().vendor()
    for one in (*vendor.seams, *vendor.patches):
        __import__(one.module)
        resolve(sys.modules[one.module], one.attribute)


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini", "ollama_chat"])
def test_a_name_that_was_taken_before_custody_came(litellm: Any, three_ways: Any, led: Any, vendor: str) -> None:
    """Its requests are recorded and replayed; only what belongs together is not known to."""
    from litellm import completion

    assert process.current() is None

    def scenario() -> Any:
        whole = completion(messages=ASK, **led(vendor))
        streamed = list(completion(messages=ASK, stream=True, **led(vendor)))
        return [whole.choices[0].message.content, [chunk.choices[0].delta.content for chunk in streamed]]

    three_ways(scenario)
    assert len(three_ways.calls) == 2
    assert all(call.fields["answers"] for call in three_ways.calls)


def test_all_plugins_at_once_record_a_call_once(litellm: Any, three_ways: Any, led: Any) -> None:
    """litellm calls the openai SDK, which runs on httpx: three seams, one call, one exchange."""
    three_ways.record(lambda: [litellm.completion(messages=ASK, **led(v)) for v in ("openai", "azure", "anthropic")])
    assert len(three_ways.calls) == 3 == three_ways.sim.count()
    assert [len(call.fields["attempts"]) for call in three_ways.calls] == [1, 1, 1]
    assert {call.fields["sdk"]["plugin"] for call in three_ways.calls} == {"litellm"}


def test_the_openai_sdk_beside_litellm_is_its_own(litellm: Any, three_ways: Any, led: Any) -> None:
    import openai

    def scenario() -> None:
        litellm.completion(messages=ASK, **led("openai"))
        with openai.OpenAI(base_url=three_ways.sim.openai_base_url, api_key="sk-simulator") as client:
            client.chat.completions.create(model="gpt-4o", messages=ASK)

    three_ways.record(scenario)
    assert [call.fields["sdk"]["plugin"] for call in three_ways.calls] == ["litellm", "openai"]


def test_batch_completion_is_many_calls(litellm: Any, three_ways: Any, led: Any) -> None:
    asked = [[{"role": "user", "content": f"Say something about river {n}."}] for n in range(4)]

    def scenario() -> Any:
        return [one.id for one in litellm.batch_completion(messages=asked, **led("openai"))]

    recorded = three_ways.record(scenario)
    assert three_ways.replay(scenario) == recorded
    assert len(three_ways.calls) == 4


def test_no_secret_is_on_disk(litellm: Any, three_ways: Any, led: Any) -> None:
    canary = "sk-canary-4f1c9a7e5d3b2a1908"

    def scenario() -> None:
        three_ways.sim.inject(Fault(status=503, path="/chat/completions"), 1)
        given = {**led("openai"), "api_key": canary}
        backup = {"model_name": "backup", "litellm_params": {**led("anthropic"), "api_key": canary}}
        held = [{"model_name": "fast", "litellm_params": given}, backup]
        router = litellm.Router(model_list=held, fallbacks=[{"fast": ["backup"]}], num_retries=0)
        router.completion(model="fast", messages=ASK, metadata={"token": canary})
        litellm.completion(messages=ASK, mock_response="x", extra_headers={"authorization": canary}, **given)
        litellm.completion(messages=ASK, **{**led("bedrock"), "aws_secret_access_key": canary})
        litellm.completion(messages=ASK, **{**led("gemini"), "api_key": canary})

    three_ways.record(scenario)
    assert len(three_ways.calls) == 4
    files = [path for path in three_ways.root.rglob("*") if path.is_file()]
    assert files
    assert [str(path) for path in files if canary.encode() in path.read_bytes()] == []


PROGRAM = """
import sys
{before}
import litellm
{after}
def main():
    ask = [{{"role": "user", "content": "Say something."}}]
    with custody.session(project="P", experiment="E", root=sys.argv[1]) as session:
        litellm.text_completion(prompt="Once", model="text-completion-openai/m", api_key="k", api_base=sys.argv[2])
        litellm.completion(messages=ask, model="openai/m", api_key="k", api_base=sys.argv[2])
    custody.uninstall()
    with custody.session(project="P", experiment="E", root=sys.argv[1], new=True) as session:
        litellm.text_completion(prompt="Once", model="text-completion-openai/m", api_key="k", api_base=sys.argv[2])
main()
"""


@pytest.mark.parametrize("first", ["custody", "litellm"])
def test_whichever_is_imported_first(litellm: Any, sdk_env: Any, root: Path, first: str) -> None:
    """Also after the patches were taken back and made again."""
    before, after = ("import custody; custody.install()", "") if first == "custody" else ("", "import custody")
    program = PROGRAM.format(before=before, after=after)
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    argv = [sys.executable, "-c", program, str(root), sdk_env.openai_base_url]
    subprocess.run(argv, env=environ, check=True, timeout=120)
    calls = [call for path in root.rglob("llm_archive") for call in custody.open(path.parent).calls()]
    assert len(calls) == 3 == sdk_env.count()
    assert {call.fields["sdk"]["plugin"] for call in calls} == {"litellm"}


ABSENT = """
import sys
from custody.sessions import process
have = process.installed_version
process.installed_version = lambda name: "" if name == "litellm" else have(name)
installed = process.install()
assert installed.sdks["litellm"].state == "not installed", installed.sdks["litellm"]
assert not [name for name in sys.modules if name == "litellm" or name.startswith("litellm.")]
"""


def test_without_litellm_it_does_nothing() -> None:
    subprocess.run([sys.executable, "-c", ABSENT], check=True, timeout=60)
