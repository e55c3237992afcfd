"""The user's own rates, from a file: what was negotiated wins over every list price.

TOML, one table a model::

    [[rates]]
    vendor = "openai"
    model = "gpt-4o"              # as the response names it, or its beginning with a * at the end
    from = 2026-01-01             # inclusive; and ``until``, inclusive; both may be left out
    tier = "standard"             # or batch, flex, priority, fast
    region = "us"                 # left out: any
    source = "contract of January 2026"
    input_mtok = "2.25"           # US dollars; the price library's names of units
    cache_read_mtok = "1.125"
    output_mtok = "9"

What no response says can be stated in the same file::

    [deployments]
    my-gpt-4o = "datazone-eu"     # Azure's type of a deployment, by the deployment's name

    [vendors]
    "gateway.example.org" = "openai"   # whose prices hold for what this host answers

``CUSTODY_RATES`` names the file.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from custody.cost import names
from custody.cost.money import dollars
from custody.errors import UsageError

ENV_RATES = "CUSTODY_RATES"

_WORDS = ("vendor", "model", "from", "until", "tier", "region", "source")
_RATE = re.compile(r"[a-z0-9_]+_(mtok|mchars|kcount|hours|kpages)")


@dataclass(frozen=True)
class Agreed:
    """One table of the file."""

    vendor: str
    model: str
    first: date
    last: date
    tier: str
    region: str | None
    source: str
    rates: dict[str, Decimal]


@dataclass(frozen=True)
class UserRates:
    """A file of rates."""

    tables: tuple[Agreed, ...]
    sha256: str
    deployments: dict[str, str] = field(default_factory=dict)
    vendors: dict[str, str] = field(default_factory=dict)

    def deployment(self, name: str | None) -> str | None:
        """Azure's type of a deployment, as stated."""
        return self.deployments.get((name or "").lower())

    def vendor_of(self, host: str) -> str | None:
        """Whose prices hold for a host, with its port or without."""
        return self.vendors.get(host.lower()) or self.vendors.get(host.lower().rpartition(":")[0])

    def find(self, vendor: str, model: str, day: date, tier: str, region: str | None) -> Agreed | None:
        """The first table that holds for a call."""
        for table in self.tables:
            named = model.startswith(table.model[:-1]) if table.model.endswith("*") else model == table.model
            if (
                (table.vendor, table.tier) == (vendor, tier)
                and named
                and table.first <= day <= table.last
                and table.region in (None, region)
            ):
                return table
        return None


def from_environment() -> UserRates | None:
    """The user's rates, where there are any. Raises UsageError where their file cannot be used."""
    path = os.environ.get(ENV_RATES)
    return load(path) if path else None


def chosen(path: str | Path | None) -> UserRates | None:
    """Those of the file that a command was given, else the user's own. Raises UsageError."""
    return load(path) if path else from_environment()


def load(path: str | Path) -> UserRates:
    """Read a file of rates. Raises UsageError where it cannot be used."""
    try:
        raw = Path(path).read_bytes()
        data = tomllib.loads(raw.decode(), parse_float=Decimal)
    except OSError as error:
        raise UsageError(f"the rates in {path} cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the rates in {path} are no TOML: {error}") from error
    tables, types, hosts = data.get("rates", []), data.get("deployments", {}), data.get("vendors", {})
    if not isinstance(tables, list) or not isinstance(types, dict) or not isinstance(hosts, dict):
        raise UsageError(f"{path}: write [[rates]], [deployments] and [vendors]")
    if not (tables or types or hosts):
        raise UsageError(f"{path} has none of [[rates]], [deployments] and [vendors]")
    vendors = {str(host).lower(): names.vendor(vendor) for host, vendor in hosts.items()}
    if None in vendors.values():
        raise UsageError(f"{path}, [vendors]: a vendor that custody has no prices of")
    return UserRates(
        tuple(_table(t, i, path) for i, t in enumerate(tables, 1)),
        hashlib.sha256(raw).hexdigest(),
        {str(name).lower(): str(kind) for name, kind in types.items()},
        {host: vendor for host, vendor in vendors.items() if vendor is not None},
    )


def _table(table: Any, number: int, path: str | Path) -> Agreed:
    where = f"{path}, [[rates]] number {number}"
    vendor, model = names.vendor(table.get("vendor")), table.get("model")
    tier = names.tier(table.get("tier", "standard"))
    if vendor is None or not isinstance(model, str) or tier is None:
        raise UsageError(f"{where}: it needs a vendor, a model and, if any, a tier that custody knows")
    rates: dict[str, Decimal] = {}
    for name, value in table.items():
        if name in _WORDS:
            continue
        amount = dollars(value)
        if _RATE.fullmatch(name) is None or amount is None:
            raise UsageError(f'{where}: {name} = {value!r} is no rate; write for example input_mtok = "2.50"')
        rates[name] = amount
    first, last = table.get("from", date.min), table.get("until", date.max)
    if type(first) is not date or type(last) is not date or not rates:
        raise UsageError(f"{where}: from and until are dates such as 2026-01-01, and there is at least one rate")
    region = table.get("region")
    return Agreed(vendor, model.lower(), first, last, tier, region, str(table.get("source", "")), rates)
