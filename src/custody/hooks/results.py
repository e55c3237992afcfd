"""Whether what a hook gave is what it promises: looked at where it is given, so that the plugin's name is known.

Behind this door everything is taken at its word: it is merged, written as JSON, handed to an SDK. A value of a wrong
type would fail there, as a defect that nobody could tell the plugin's from custody's own. Every call passes here, so
what is well formed is looked at many values at a time; only what is not so is gone through one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, get_args

import orjson

from custody.codecs import Codec
from custody.doubt import Found as DoubtFound
from custody.doubt import Told
from custody.exchange import Claim, Replay, ResponseHead, Terminal
from custody.record import OUTCOMES, REASONS, Finding, Forensics, Price, Usage
from custody.storage import Storage
from custody.vendor import CallResult, CallSeam, Patch, Vendor


class WrongResult(Exception):
    """What a hook gave cannot be used. The message names types and fields, and nothing of their content."""


_LONGEST = 1 << 20  # bytes of JSON that a hook may add to a call line
_DEEPEST = 64
_MOST_BITS = 1024  # of an integer
_MOST_TOKENS = 1 << 63
_MOST_USD = 10**12
_NONE = type(None)
_STR, _BYTES, _FINDINGS = frozenset((str,)), frozenset((bytes,)), frozenset((Finding,))
_SCALARS = frozenset((str, int, float, _NONE))
_COUNTS = frozenset((int, _NONE))
_OUTCOMES = frozenset((None, *OUTCOMES))
_REASONS = frozenset(REASONS)
_TERMINALS = frozenset(get_args(Terminal))
_METHODS = tuple(name for name, value in vars(Storage).items() if callable(value) and not name.startswith("_"))


def a(value: object) -> str:
    """The type of a value, in words."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _is(what: str, value: object, *kinds: type) -> None:
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ if kind is not _NONE else "None" for kind in kinds)
        raise WrongResult(f"{what} is {a(value)}, and should be {wanted}")


def _words(what: str, *values: object) -> None:
    """Texts that can be written as UTF-8."""
    for value in values:
        _is(what, value, str)
        if not value.isascii():  # type: ignore[attr-defined]
            try:
                value.encode()  # type: ignore[attr-defined]
            except UnicodeEncodeError:
                raise WrongResult(f"{what} holds half of a surrogate pair, which is no text") from None


def plain(value: Any, what: str, depth: int = 0) -> Any:
    """``value`` as JSON has it: half a surrogate pair becomes its escape, an infinity null. Raises WrongResult."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.encode(value, "utf-8", "backslashreplace").decode()
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise WrongResult(f"{what} holds an integer of {value.bit_length()} bits")
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if depth > _DEEPEST:
        raise WrongResult(f"{what} is nested too deep, or contains itself")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise WrongResult(f"{what} has {a(key)} for a name, and JSON has texts only")
        return {plain(key, what): plain(inner, what, depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner, what, depth + 1) for inner in value]
    raise WrongResult(f"{what} holds {a(value)}, which JSON has no word for")


def _small(what: str, size: int) -> None:
    if size > _LONGEST:
        raise WrongResult(f"{what} would take {size:,} bytes on the call line; {_LONGEST:,} are the most")


# -- one function a hook: gives what is to be used, or raises WrongResult ---------------------------------------------


def _vendor(vendor: Any) -> Vendor:
    _is("what it gave", vendor, Vendor)
    _words("its sdk", vendor.sdk)
    _words("its package", vendor.package)
    if not vendor.sdk:
        raise WrongResult("its sdk is an empty text")
    _is("its seams", vendor.seams, tuple, list)
    _is("its patches", vendor.patches, tuple, list)
    for seam in vendor.seams:
        _is("one of its seams", seam, CallSeam)
        _words("module, attribute or client of a seam", seam.module, seam.attribute, *_listed("client", seam.client))
        if seam.kind not in ("sync", "async"):
            raise WrongResult("the kind of a seam is neither sync nor async")
        for name in ("describe", "result", "rebuild"):
            _callable(f"{name} of a seam", getattr(seam, name), none=True)
    for patch in vendor.patches:
        _is("one of its patches", patch, Patch)
        _words("module or attribute of a patch", patch.module, patch.attribute)
        _callable("wrap of a patch", patch.wrap)
    return vendor  # type: ignore[no-any-return]


def _listed(what: str, value: Any) -> Any:
    _is(what, value, tuple, list)
    return value


def _callable(what: str, value: object, *, none: bool = False) -> None:
    if not (callable(value) or (none and value is None)):
        raise WrongResult(f"{what} is {a(value)}, and should be a function")


def _claim(claim: Any) -> Claim:
    _is("what it gave", claim, Claim)
    _words("plugin, vendor or operation of its claim", claim.plugin, claim.vendor, claim.operation)
    _callable("stream_end of its claim", claim.stream_end, none=True)
    for names in (claim.key_ignore, claim.needs):
        _is("key_ignore or needs of its claim", names, frozenset, set)
        _words("key_ignore or needs of its claim", *names)
    return claim  # type: ignore[no-any-return]


def _replay(replay: Any) -> Replay:
    _is("what it gave", replay, Replay)
    _words("the call_id of its replay", replay.call_id)
    for name in ("exhausted", "error", "origin"):
        if (text := getattr(replay, name)) is not None:
            _words(f"{name} of its replay", text)
    if type(replay.chunks) is not tuple or not _BYTES.issuperset(map(type, replay.chunks)):
        raise WrongResult("the chunks of its replay are no tuple of bytes")
    head = replay.head
    if head is not None:
        _is("the head of its replay", head, ResponseHead)
        if type(head.status) is not int or not 100 <= head.status <= 999:
            raise WrongResult("the status of its replay is none")
        _words("reason or http_version of its replay", head.reason, head.http_version)
        for pair in head.headers:
            if len(pair) != 2 or not _STR.issuperset(map(type, pair)):
                raise WrongResult("the headers of its replay are no pairs of texts")
    if replay.note is not None:
        _is("the note of its replay", replay.note, Mapping)
        mended: Replay = replace(replay, note=plain(dict(replay.note), "the note of its replay"))
        return mended
    return replay  # type: ignore[no-any-return]


def terminal(said: Any) -> Terminal | None:
    """What ``stream_end`` of a claim says of an event."""
    if said is not None and said not in _TERMINALS:
        raise WrongResult("what it says of an event is none of custody.plugin.Terminal")
    return said  # type: ignore[no-any-return]


def call_result(said: Any) -> CallResult:
    """What ``result`` of a call seam gives."""
    _is("what it gave", said, CallResult)
    _words("source, vendor or operation of its result", said.source, said.vendor, said.operation)
    if said.source not in ("mock", "cache", "unseen"):
        raise WrongResult("the source of its result is none of mock, cache and unseen")
    return said  # type: ignore[no-any-return]


def annotation(name: Any, value: Any) -> tuple[str, Any]:
    """What ``OpenCall.annotate`` is given."""
    _words("the name of an annotation", name)
    kept = plain(value, "an annotation")
    _small("an annotation", len(orjson.dumps(kept)) if not isinstance(kept, int) else 0)
    return name, kept


def question(asked: Any) -> str:
    """What the generator of ``reconcile_call`` yields."""
    _words("the address that it asks", asked)
    return asked  # type: ignore[no-any-return]


def conclusion(found: Any) -> DoubtFound | str:
    """What it returns."""
    _is("what it returned", found, DoubtFound, str)
    if isinstance(found, DoubtFound):
        told = found.told
        _is("the answer that it found", told, Told)
        if type(told.status) is not int or type(told.body) is not bytes:
            raise WrongResult("status or body of the answer that it found is of a wrong type")
        _words("how or id of the answer that it found", found.how, found.id)
    return found  # type: ignore[no-any-return]


def _questions(questions: Any) -> Any:
    if not isinstance(questions, Generator):
        raise WrongResult(f"what it gave is {a(questions)}, and should be a generator of questions")
    return questions


def _forensics(said: Any) -> Forensics:
    _is("what it gave", said, Forensics)
    findings, parameters, usage = said.findings, said.parameters, said.usage
    if type(findings) is not dict or type(parameters) is not dict:
        _is("its findings", findings, dict)
        _is("its parameters", parameters, dict)
    if said.outcome not in _OUTCOMES:
        raise WrongResult("its outcome is none of those in custody.record.Outcome")
    if said.usage_reason not in _REASONS:
        raise WrongResult("its usage_reason is none of custody.record.REASONS")
    raw = _counted(usage) if usage is not None else None
    values: tuple[Any, ...] = ()
    evidence: tuple[Any, ...] = ()
    if findings:
        if not _FINDINGS.issuperset(map(type, findings.values())):
            raise WrongResult("one of its findings is no Finding: make it with custody.plugin.found or unknown")
        values, evidence = zip(*findings.values(), strict=True)
    try:
        written = orjson.dumps((values, *findings, *evidence, parameters, raw))
    except TypeError:  # it holds something that has to be looked for
        return _looked_through(said)
    kinds = set(map(type, values))
    texts = _STR.issuperset(map(type, evidence)) and _STR.issuperset(map(type, findings))
    finite = float not in kinds or all(math.isfinite(value) for value in values if type(value) is float)
    if not texts or not finite or not kinds <= _SCALARS:
        return _looked_through(said)
    if len(written) > _LONGEST:
        _small("what it gave", len(written))
    return said  # type: ignore[no-any-return]


def _looked_through(said: Forensics) -> Forensics:
    """The same with each value by itself, and what can be mended mended."""
    findings = {}
    for name, (value, evidence) in said.findings.items():
        _words("the name of a finding", name)
        where = f"the finding {name!r}"
        _is(where, value, str, int, float, _NONE)
        _words(f"the evidence of {where}", evidence)
        if isinstance(value, float) and not math.isfinite(value):
            raise WrongResult(f"{where} is {value}, which is no number")
        findings[name] = Finding(plain(value, where), evidence)
    usage = said.usage
    if usage is not None:
        usage = replace(usage, raw=plain(usage.raw, "the raw usage"))
    mended = replace(said, findings=findings, parameters=plain(said.parameters, "its parameters"), usage=usage)
    written = (mended.findings, mended.parameters, usage and usage.raw)
    _small("what it gave", len(str(written)))
    return mended


def _counted(usage: Any) -> Any:
    _is("its usage", usage, Usage)
    counts = (usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning)
    if not _COUNTS.issuperset(map(type, counts)):
        raise WrongResult("a count of tokens in its usage is neither an integer nor None")
    if not all(-_MOST_TOKENS < count < _MOST_TOKENS for count in counts if count):
        raise WrongResult("a count of tokens in its usage is beyond 64 bits")
    if type(usage.raw) is not dict:
        _is("the raw usage", usage.raw, dict)
    _words("the evidence of its usage", usage.evidence)
    return usage.raw


def _price(price: Any) -> Price:
    _is("what it gave", price, Price)
    usd = price.usd
    if usd is not None:
        _is("the amount of its price", usd, Decimal)
        if not usd.is_finite() or not 0 <= usd <= _MOST_USD or usd.adjusted() < -_DEEPEST or len(str(usd)) > _DEEPEST:
            raise WrongResult("the amount of its price is no sum of US dollars")
    if price.evidence is not None:
        _words("the evidence of its price", price.evidence)
    _is("the details of its price", price.details, dict)
    try:
        _small("the details of its price", len(orjson.dumps(price.details)))
    except TypeError:
        mended: Price = replace(price, details=plain(price.details, "the details of its price"))
        _small("the details of its price", len(str(mended.details)))
        return mended
    return price  # type: ignore[no-any-return]


def _codecs(codecs: Any) -> list[Codec]:
    _is("what it gave", codecs, list, tuple)
    for codec in codecs:
        _is("one of its codecs", codec, Codec)
        _words("the name of a codec", codec.name)
        for name in ("matches", "encode", "decode"):
            _callable(f"{name} of a codec", getattr(codec, name))
    return list(codecs)


def _saved(kept: Any) -> bool | None:
    """None, and the next one is asked, where it says that it has not kept it."""
    _is("what it gave", kept, bool)
    return kept or None


def _state(state: Any) -> bytes:
    _is("what it gave", state, bytes)
    return state  # type: ignore[no-any-return]


def _storage(storage: Any) -> Storage:
    missing = [name for name in _METHODS if not callable(getattr(storage, name, None))]
    if missing:
        raise WrongResult(f"what it gave is {a(storage)}, which is no storage: it has no {', '.join(missing)}")
    return storage  # type: ignore[no-any-return]


CHECKS: dict[str, Callable[[Any], Any]] = {
    "vendor": _vendor,
    "claim_exchange": _claim,
    "before_send": _replay,
    "reconcile_call": _questions,
    "extract_forensics": _forensics,
    "price_call": _price,
    "state_codecs": _codecs,
    "state_save": _saved,
    "state_load": _state,
    "open_storage": _storage,
}
"""By hook. What the others give is not used; ``redaction_patterns`` has a module of its own (``patterns``)."""
