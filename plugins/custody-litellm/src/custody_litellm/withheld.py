"""What of a call's arguments stays out of the archive: credentials, headers, where a program logs to.

By name, because nothing else tells a password from a word. A name is read as words (``apiKey`` is "api key"),
so that ``keywords`` or ``max_tokens`` are not taken for secrets.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_WITHHELD = frozenset(
    "apikey auth authentication authorization bearer cookie cookies cred credential credentials creds dsn header "
    "headers jwt key keys oauth otp pass passcode passphrase passwd password passwords pat pw pwd sas secret secrets "
    "sig signature".split()
)
_RUN_TOGETHER = re.compile(r"(key|token|secret|password|passwd|pwd)$")
# "token" is a secret, unless these are about: counts, and the tokens that a model reads and writes.
_OF_TEXT = frozenset("bos eos pad unk stop special ids max min count limit budget".split())
_KEPT = frozenset(("prompt_cache_key", "model_name_key", "langfuse_prompt_version"))
# StandardCallbackDynamicParams of litellm/types/utils.py, and what carries them.
_CALLBACK = re.compile(
    r"(arize|dd|gcs|helicone|humanloop|langfuse|langsmith|lunary|newrelic|posthog|s3|signoz|wandb|weave)_|"
    r".*callback|secret_fields$|aws_external_id$"
)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
_PLAIN_QUERY = frozenset("alt api-version api_version deployment location model region version".split())
"""Queries that say what is asked, and of whom."""


def is_withheld(name: str) -> bool:
    """Whether the value of an argument, or of a member inside one, is left out."""
    if name in _KEPT:
        return False
    words = {word.lower() for word in _WORD.findall(name)}
    if words & _WITHHELD or _CALLBACK.match(name.lower()):
        return True
    if "token" in words:
        return not words & _OF_TEXT
    return any(_RUN_TOGETHER.search(word) for word in words)


def is_plain_query(name: str) -> bool:
    """Whether the value of a query says what is asked."""
    return name.lower() in _PLAIN_QUERY


def without_secrets(text: str) -> str:
    """A text with every URL in it as ``address`` writes it."""
    return _ADDRESS.sub(lambda found: address(found[0]), text) if "://" in text else text


def address(url: str) -> str:
    """A URL without user, password and fragment; of its query the names, and the values that are known to be plain.

    Of what is no valid URL, only the scheme: a password with a ``/`` or ``#`` in it may stand anywhere.
    """
    scheme, mark, _ = url.partition("://")
    if not mark:  # a bare host
        return address(f"https://{url}").removeprefix("https://")
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return f"{scheme}://"
    query = "&".join(
        f"{quote(name)}={quote(value) if is_plain_query(name) else ''}" for name, value in parse_qsl(parts.query)
    )
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))
