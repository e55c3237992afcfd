"""A litellm whose Router is a core in Rust: what cannot be seen is said once, and nothing that is not there is patched.

The locked litellm is an older one, so the version is pretended; a Router of that kind is stood in for.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest
from custody_litellm import router, seams


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    monkeypatch.setattr(router, "version", lambda name: request.param)
    router._say_once.cache_clear()
    return str(request.param)


@pytest.mark.parametrize("installed", ["1.80.0", "1.108.14", "1.9.0", "unknown"], indirect=True)
def test_older_ones_are_patched_where_they_choose(installed: str) -> None:
    assert {patch.attribute for patch in router.patches()} > {"Router.get_available_deployment"}
    assert any(seam.attribute.startswith("Router.") for seam in seams.seams())


@pytest.mark.parametrize("installed", ["1.109.0", "1.110.2", "2.0.0"], indirect=True)
def test_a_router_that_chooses_unseen_is_told_of_once(installed: str, caplog: pytest.LogCaptureFixture) -> None:
    assert not any(seam.attribute.startswith("Router.") for seam in seams.seams())
    (patch,) = router.patches()
    assert patch.attribute == "Router._attach"
    attach = patch.wrap(lambda self, core: core)
    assert [attach(None, "a"), attach(None, "b")] == ["a", "b"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"litellm {installed} " in caplog.text and "may choose another deployment" in caplog.text


def test_without_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(router, "version", absent)
    assert not router.chooses_unseen()
