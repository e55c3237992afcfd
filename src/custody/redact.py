"""What may be written. Every line of a session passes ``Redactor.scrub`` before it is hashed and stored.

Three nets, because each alone has holes: headers and query parameters are stored by allow-list; the
literal values of credentials (those of the request in hand, and those in the environment) are cut out
wherever they occur; and patterns of well-known keys are cut out even where nobody knew the value.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from custody import needles
from custody.exchange import Headers, parse_json
from custody.headers import Remembered, in_requests, in_responses
from custody.masking import MASK as MASK
from custody.masking import masked

_BODY_NAME = re.compile(
    r"^(\w+_)?(authorization(_token)?|auth|api[_-]?key(_string)?|access[_-]?(key|token)|auth[_-]?token|password|secret"
    r"|client[_-]?secret|headers|bearer([_-]?token)?|x-api-key|authentication|connection_string|auth_?config"
    r"|api_?key_?config|credentials?)$",
    re.IGNORECASE,
)
_SCHEMA = ("string", "object", "array", "number", "integer", "boolean", "STRING", "OBJECT", "ARRAY")
_NO_CREDENTIAL = re.compile(r"^(type|auth_?type|kind)$", re.IGNORECASE)  # words, below a name of one
_SECRET_NAME = re.compile(
    r"key(?!board|map|word)|token(?!iz)|secret|passw|credential|cookie|auth(?!or(?!iz))|session.?id|signature",
    re.IGNORECASE,
)
# Names that say "key" or look random, but differ with every request: learning them would never end.
_PASSING = frozenset(
    "content-length connection accept-encoding date idempotency-key x-idempotency-key request-id x-request-id "
    "x-client-request-id x-correlation-id traceparent tracestate baggage b3 sentry-trace".split()
)
_REMEMBERED = 64  # of the values that requests carried; those of the environment stay
_EXAMINED = 4096
_LATEST = 8  # cookies: as many as clients take turns

_Forms = tuple[bytes, ...]
"""How a secret may be written."""

QUERY = frozenset(
    "api-version alt limit after after_id before before_id order include include[] model purpose stream "
    "starting_after version beta page pagesize $alt upload_protocol".split()
)


def _key(prefix: bytes, rest: bytes) -> tuple[bytes, bytes]:
    """A key that begins with ``prefix``, not in the middle of a word. Lines are JSON: what stands before it
    may be the letter of an escape such as ``\\n``. The prefix comes first, because that search is fast."""
    return prefix, re.escape(prefix) + _not_in_a_word(prefix) + rest


def _not_in_a_word(prefix: bytes) -> bytes:
    word = re.escape(prefix)
    return rb"(?:(?<![A-Za-z0-9_]%b)|(?<=\\[nrtbf]%b)|(?<=\\u[0-9a-fA-F]{4}%b))" % (word, word, word)


# Value-shaped patterns of vendors' keys; the prefix is looked for first, since most lines have none.
_PATTERNS: tuple[tuple[bytes, bytes], ...] = (
    _key(b"sk-", rb"(?:ant-|proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,}"),
    _key(b"AIza", rb"[A-Za-z0-9_-]{30,}"),
    _key(b"ya29.", rb"[A-Za-z0-9._-]{20,}"),
    _key(b"AKIA", rb"[A-Z0-9]{16}\b"),
    _key(b"ASIA", rb"[A-Z0-9]{16}\b"),
    _key(b"gsk_", rb"[A-Za-z0-9]{30,}"),
    _key(b"hf_", rb"[A-Za-z0-9]{30,}"),
    _key(b"ghp_", rb"[A-Za-z0-9]{36}"),
    _key(b"xai-", rb"[A-Za-z0-9]{40,}"),
    _key(b"Bearer ", rb"[A-Za-z0-9._~+/-]{16,}=*"),
    (
        b"PRIVATE KEY",
        rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[A-Za-z0-9+/=\s:,-]|\\+[nrt]){64,}?-----END [A-Z ]*PRIVATE KEY-----",
    ),
)


def _ending_in(last: bytes) -> re.Pattern[bytes]:
    """The patterns whose prefix ends in this byte, as one that begins with it: much text is passed over fast, and
    words such as "risk-adjusted" are told from keys at once. It says that there is a match, not where."""
    ours = [(prefix, pattern) for prefix, pattern in _PATTERNS if prefix.endswith(last)]
    found = [b"(?<=%b)%b" % (re.escape(prefix), pattern.removeprefix(re.escape(prefix))) for prefix, pattern in ours]
    # One look at the byte before tells that it is none of them, nearly always.
    first = b"%b(?<=[%b]%b)" % (re.escape(last), re.escape(b"".join(p[-2:-1] for p, _ in ours)), re.escape(last))
    return re.compile(first + b"(?:%b)" % b"|".join(found), re.DOTALL)


_DASHED, _UNDERSCORED = _ending_in(b"-").search, _ending_in(b"_").search
_OTHER_PREFIXES = tuple(prefix for prefix, _ in _PATTERNS if not prefix.endswith((b"-", b"_")))


class Redactor:
    """Knows this process's credentials and cuts them out of bytes. Thread-safe."""

    def __init__(self, patterns: Iterable[tuple[str, str]] = ()) -> None:
        """``patterns``: pairs of a literal that a line must contain, and the regular expression to mask."""
        extra = [(literal.encode(), pattern.encode()) for literal, pattern in patterns]
        self._asked_for = [(literal, re.compile(pattern, re.DOTALL)) for literal, pattern in extra]
        self._patterns = [(literal, re.compile(pattern, re.DOTALL)) for literal, pattern in _PATTERNS]
        self._literals: tuple[bytes, ...] = ()
        self._wanted_of_answers = tuple(literal for literal, _ in extra)
        self._kept: dict[str, _Forms] = {}
        self._passing: dict[str, _Forms] = {}  # the latest last
        self._look()
        self._by_header: dict[str, list[list[str]]] = {}
        self._examined: set[tuple[str, str]] = set()  # headers whose values are known or harmless
        self._lock = threading.RLock()

    def learn(self, values: Iterable[str], *, passing: bool = False) -> None:
        """Remember literal secrets; shorter than 8 characters, or plain words, they cannot be told from text.

        Of ``passing`` ones the latest ``_REMEMBERED`` are kept.
        """
        new = [value for value in values if value not in self._kept and not _word(value)]
        if not new:
            return
        with self._lock:
            known = self._passing if passing else self._kept
            for value in new:
                known[value] = known.pop(value, ()) or _forms(value)
            while len(self._passing) > _REMEMBERED:
                del self._passing[next(iter(self._passing))]
                self._examined.clear()  # what is forgotten has to be learned again when it comes again
            literals = self._all_forms()
            if literals != self._literals:
                self._literals = literals
                self._look()

    def _look(self) -> None:
        """Make the fast looks at whole lines anew: they overlook nothing that ``scrub`` would mask."""
        kept = {form for forms in self._kept.values() for form in forms}
        # A value that is written in one way only stands in every form of a longer one that holds it.
        plain = [value for value, forms in self._passing.items() if len(forms) == 1 and _UNRESERVED(value)]
        passing = {form for value, forms in self._passing.items()
                   if not any(each in value and each is not value for each in plain)
                   for form in forms if form not in kept}  # fmt: skip
        in_answers = (*kept, *self._wanted_of_answers)
        self._in_answer = needles.probe(in_answers, passing)
        self._in_line = needles.probe((*in_answers, *_OTHER_PREFIXES), passing)

    def _all_forms(self) -> tuple[bytes, ...]:
        forms = {form for each in (*self._kept.values(), *self._passing.values()) for form in each}
        return tuple(sorted(forms, key=len, reverse=True))

    def _forget_older(self, name: str, values: list[str]) -> None:
        """Of a header that changes with every answer (a bot manager's cookie) only the last two values are kept."""
        latest = self._by_header.setdefault(name, [])
        latest.append(values)
        if len(latest) > _LATEST:
            still = {value for group in (g for groups in self._by_header.values() for g in groups[-_LATEST:])
                     for value in group}  # fmt: skip
            for value in latest.pop(0):
                if value not in still:
                    self._passing.pop(value, None)

    def learn_environment(self, environ: Mapping[str, str]) -> None:
        """Remember the values of variables named like credentials, unless they read like a word or a path."""
        self.learn(v for k, v in environ.items() if _SECRET_NAME.search(k) and _looks_secret(v))

    def learn_request(self, headers: Headers, url: str) -> None:
        """Remember the credentials that a request carries: what stands under a name of one, and what looks
        like one under any other name that is not stored."""
        values: list[str] = []
        # A client's headers are nearly always those of its last request.
        for name, value in () if self._examined.issuperset(headers) else headers:
            if (name, value) in self._examined:
                continue
            self._examined.add((name, value))
            if in_requests[name] or name.lower() in _PASSING:
                continue
            parts = [value, *re.split(r"[\s;,]+", value), *(p.partition("=")[2] for p in re.split(r"[;,]\s*", value))]
            parts += _basic(value)
            secret = [p for p in parts if _SECRET_NAME.search(name) or _random(p)]
            values += secret
            if name.lower() == "cookie":
                self._forget_older(name.lower(), secret)
        if len(self._examined) > _EXAMINED:
            self._examined.clear()
        if "?" in url or "@" in url:
            split = urlsplit(url)
            for name, value in parse_qsl(split.query):
                if name.lower() not in QUERY and (_SECRET_NAME.search(name) or name.lower() == "sig" or _random(value)):
                    values.append(value)
            values += [v for v in (split.username, split.password) if v]
        if values:
            self.learn(values, passing=True)

    def learn_body(self, body: bytes) -> None:
        """Remember the credentials that a JSON request body carries for tools and servers that the vendor calls."""
        self.learn_json(parse_json(body))

    def learn_json(self, body: object) -> None:
        """The same for a body that is parsed already."""
        try:
            values: list[str] = []
            _gather(body, "", values)
        except RecursionError:
            return
        if values:
            self.learn(values, passing=True)

    def scrub(self, data: bytes, *, answer: bool = False) -> bytes:
        """``data`` with every known secret and every key-shaped text masked.

        In an ``answer`` only known secrets are, and what a plugin's patterns ask for: a model's text may look
        like a key, and is to be replayed byte for byte.
        """
        if answer:
            if not self._in_answer(data):
                return data
        elif not self._in_line(data) and _DASHED(data) is None and _UNDERSCORED(data) is None:
            return data
        for literal in self._literals:
            if literal in data:
                data = data.replace(literal, MASK.encode())
        for literal, pattern in () if answer else self._patterns:
            if literal in data:
                data = pattern.sub(MASK.encode(), data)
        for literal, pattern in self._asked_for:
            if literal in data:
                data = masked(pattern, data)
        return data

    def blanked(self, data: bytes, *, answer: bool = False) -> bytes:
        """Bytes that are no text, with the same parts masked at their own length: what counts lengths
        (protocol buffers) still reads them. Text is left to ``scrub``, which sees the finished line."""
        if data.isascii():
            return data
        try:
            data.decode()
        except UnicodeDecodeError:
            pass
        else:
            return data
        for literal in self._literals:
            if literal in data:
                data = data.replace(literal, b"*" * len(literal))
        for literal, pattern in (*(() if answer else self._patterns), *self._asked_for):
            if literal in data:
                data = pattern.sub(lambda found: b"*" * len(found[0]), data)
        return data

    def finds(self, answer: bytes) -> bool:
        """Whether ``scrub`` would change an answer."""
        return self.scrub(answer, answer=True) != answer

    def text(self, value: str) -> str:
        return self.scrub(value.encode("utf-8", "replace")).decode("utf-8", "replace")


def request_headers(headers: Headers) -> list[list[str]]:
    """The request headers that may be stored, in order."""
    return [[name, value] for name, value in headers if in_requests[name]]


def response_headers(headers: Headers) -> list[list[str]]:
    """The response headers that may be stored, in order."""
    return [
        [name, url(value) if stored == "masked" else value]
        for name, value in headers
        if (stored := in_responses[name]) is not None
    ]


@lru_cache(maxsize=64)
def url(value: str) -> str:
    """``value`` without user information, and with the values of unknown query parameters masked."""
    parts = urlsplit(value)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{quote(k)}={quote(v) if k.lower() in QUERY else quote(MASK)}"
        for k, v in parse_qsl(parts.query, keep_blank_values=True)
    )
    return parts._replace(netloc=host, query=query, fragment="").geturl()


def _gather(value: object, name: str, found: list[str]) -> None:
    """Add the strings below a name of a credential, or below ``headers``, and what URLs carry of one, in their order.

    ``name``: that of the credential below which ``value`` stands, or an empty string.
    """
    if isinstance(value, dict):
        if value.get("type") in _SCHEMA:  # it describes such a value
            name = ""
        for key, inner in value.items():
            if isinstance(inner, str):
                below = name if not _named[key] and not (name and _NO_CREDENTIAL.search(key)) else key
                if below or "://" in inner[:16]:  # as nearly no text is
                    _gather(inner, below, found)
            elif isinstance(inner, (dict, list)):
                _gather(inner, name if not _named[key] and not (name and _NO_CREDENTIAL.search(key)) else key, found)
    elif isinstance(value, list):
        for inner in value:
            _gather(inner, name, found)
    elif isinstance(value, str):
        if name and not _NO_CREDENTIAL.search(name):
            found.append(value)
            found.extend(part for part in value.split() if len(part) >= 8)
        if "://" in value[:16]:
            found.extend(_url_secrets(value))


_named: Remembered[str, bool] = Remembered(lambda key: _BODY_NAME.search(key) is not None)


def _url_secrets(address: str) -> Iterator[str]:
    """The user information of a URL, and what stands in its query under the name of a credential."""
    try:
        split = urlsplit(address)
        yield from (v for v in (split.username, split.password) if v)
        for key, value in parse_qsl(split.query):
            if key.lower() not in QUERY and (_SECRET_NAME.search(key) or key.lower() == "sig"):
                yield value
    except ValueError:
        return


def mask_command(words: Iterable[str]) -> list[str]:
    """A command without the values of options and variables that are named like credentials."""
    masked: list[str] = []
    hide = False
    for word in words:
        option, given, _ = word.partition("=")
        named = word.startswith("-") and _SECRET_NAME.search(option) is not None
        if hide and not word.startswith("-"):
            masked.append(MASK)
        else:
            masked.append(f"{option}={MASK}" if named and given else _ASSIGNED.sub(_mask_assigned, word))
        hide = named and not given
    return masked


_ASSIGNED = re.compile(r"""\b([A-Za-z_][A-Za-z0-9_]*)=("[^"]*"|'[^']*'|[^\s"';]+)""")


def _mask_assigned(found: re.Match[str]) -> str:
    return f"{found[1]}={MASK}" if _SECRET_NAME.search(found[1]) else found[0]


def _looks_secret(value: str) -> bool:
    if len(value) < 8 or value.startswith(("/", "./", "~", "file:")):
        return False
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return mixed or (len(value) >= 16 and " " not in value)


def _word(value: str) -> bool:
    """Too short or too plain to be cut out wherever it occurs: it would hit prose, numbers and field names."""
    return len(value) < 8 or (len(value) < 16 and re.fullmatch(r"[a-z_-]+|[0-9.:-]+", value) is not None)


def _random(value: str) -> bool:
    """Whether a value under a harmless name looks like a token: letters and digits change places in it."""
    return any(
        len(run) >= 8 and len(re.findall(r"[0-9](?=[A-Za-z])|[A-Za-z](?=[0-9])", run)) >= 3
        for run in re.findall(r"[A-Za-z0-9]+", value)
    )


def _basic(value: str) -> list[str]:
    """User and password of a Basic authorization."""
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() != "basic":
        return []
    try:
        return [base64.b64decode(encoded, validate=True).decode().partition(":")[2]]
    except ValueError:
        return []


_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]+").fullmatch  # RFC 3986: neither a URL nor JSON writes it in another way


def _forms(value: str) -> _Forms:
    """How a value is written in an URL, in JSON, and in JSON within JSON (a body within a line)."""
    if len(value) >= 8 and _UNRESERVED(value):
        return (value.encode(),)
    forms = {value, quote(value, safe=""), quote(value), quote_plus(value), unquote(value)}
    forms |= {re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), form) for form in tuple(forms)}
    for _ in range(2):
        forms |= {json.dumps(form, ensure_ascii=escape)[1:-1] for form in tuple(forms) for escape in (False, True)}
    return tuple({form.encode("utf-8", "replace") for form in forms if len(form) >= 8})
