"""The user's own rates: after the vendor's figure, before every table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import custody
from custody.cost import UserRates, load, price
from custody.errors import UsageError

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
CALL: dict[str, Any] = {"vendor": "openai", "api": "chat", "model": "gpt-4o", "usage": USAGE, "date": "2026-11-05"}

FILE = """
[[rates]]
vendor = "openai"
model = "gpt-4o"
from = 2026-06-01
until = 2026-12-31
source = "contract 7"
input_mtok = "2.25"
output_mtok = "9"

[[rates]]
vendor = "OpenAI"
model = "my-finetune*"
input_mtok = 1.05
output_mtok = "2"

[deployments]
My-GPT = "datazone-eu"

[vendors]
"gateway.example.org" = "openai"
"""


@pytest.fixture
def rates(tmp_path: Path) -> UserRates:
    (tmp_path / "rates.toml").write_text(FILE)
    return load(tmp_path / "rates.toml")


def test_they_win_over_the_table_in_their_time(rates: UserRates) -> None:
    mine = price(**CALL, rates=rates)
    assert (mine.cost_usd, mine.status) == ("0.00315", "priced")  # 1000 * 2.25 + 100 * 9 = 3,150 per million
    assert mine["source"]["kind"] == "user" and mine["source"]["agreement"] == "contract 7"
    assert price(**{**CALL, "date": "2026-05-31"}, rates=rates).cost_usd == "0.0035"
    assert price(**CALL, rates=rates, batch=True).cost_usd == "0.00175", "another tier: the table"


def test_a_model_by_its_beginning_and_of_no_table(rates: UserRates) -> None:
    assert price(**{**CALL, "model": "my-finetune-3"}, rates=rates).cost_usd == "0.00125"  # 1,050 + 200


def test_what_they_leave_out_is_not_free(rates: UserRates) -> None:
    cached = {**USAGE, "prompt_tokens_details": {"cached_tokens": 10}}
    assert price(**{**CALL, "usage": cached}, rates=rates).reason == "unit_unpriced"


def test_the_vendors_own_figure_wins(rates: UserRates) -> None:
    record = price(**{**CALL, "vendor": "openrouter", "usage": {**USAGE, "cost": 0.5}}, rates=rates)
    assert (record.cost_usd, record.status) == ("0.5", "vendor_reported")


def test_hosts_and_deployments_that_are_stated(rates: UserRates) -> None:
    assert price(**{**CALL, "vendor": "gateway.example.org:8443", "date": "2026-05-01"}, rates=rates).status == "priced"
    assert price(**{**CALL, "vendor": "elsewhere.example.org"}, rates=rates).reason == "price_not_found"
    assert rates.deployment("my-gpt") == "datazone-eu"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rates", "no TOML"),
        ("x = 1", "none of"),
        ('[[rates]]\nvendor = "nobody"\nmodel = "m"\ninput_mtok = "1"', "needs a vendor"),
        ('[[rates]]\nvendor = "openai"\nmodel = "m"\ninput = "1"', "is no rate"),
        ('[[rates]]\nvendor = "openai"\nmodel = "m"\ninput_mtok = "-1"', "is no rate"),
        ('[[rates]]\nvendor = "openai"\nmodel = "m"\nfrom = "soon"\ninput_mtok = "1"', "are dates"),
        ('[vendors]\n"a.example.org" = "nobody"', "no prices of"),
    ],
)
def test_a_file_that_cannot_be_used(text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rates.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        load(tmp_path / "rates.toml")
    monkeypatch.setenv("CUSTODY_RATES", str(tmp_path / "rates.toml"))
    with pytest.raises(UsageError, match=said):
        custody.session("P", "E", root=tmp_path)
    assert not (tmp_path / "projects").exists(), "said before anything is written or paid"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "none.toml")
