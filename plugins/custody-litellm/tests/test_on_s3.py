"""litellm and both clients of S3 in one environment: a study's answers lie in a bucket, and are replayed from there."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.testing.simulator import Simulator

SERVERS = Path(__file__).parents[2] / "custody-fsspec" / "tests" / "servers.py"
ASK: Any = [{"role": "user", "content": "Say something about rivers."}]


@pytest.mark.parametrize(("client", "module"), [("obstore", "obstore"), ("fsspec", "s3fs")])
def test_a_call_is_kept_in_a_bucket(
    litellm: Any, sim: Simulator, led: Any, monkeypatch: pytest.MonkeyPatch, client: str, module: str
) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install 'custody-fsspec[s3,s3fs]'")
    servers = runpy.run_path(str(SERVERS))
    with servers["moto"]() as endpoint:
        servers["make_bucket"](endpoint, "bucket")
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "CUSTODY_FSSPEC_CLIENT": client,
        }.items():
            monkeypatch.setenv(name, value)
        run = {"project": "P", "experiment": "E", "root": f"s3://bucket/{client}"}
        with custody.session(**run) as session:
            said = litellm.completion(messages=ASK, **led("openai")).choices[0].message.content
            name = session.id
        (call,) = custody.open(f"s3://bucket/{client}/projects/P/experiments/E/sessions/{name}").calls()
        assert (call.success, call.fields["sdk"]["plugin"]) == (True, "litellm")
        sim.stop()
        with custody.session(**run, session=name, strict=True):
            again = litellm.completion(messages=ASK, **led("openai")).choices[0].message.content
        assert again == said
