"""What a model's name says: its family, the snapshot that it pins, and who makes it.

Vendors write one model in many ways: ``gpt-4o`` and ``gpt-4o-2024-08-06``, ``claude-3.5-sonnet`` and
``us.anthropic.claude-3-5-sonnet-20241022-v2:0``, ``models/gemini-2.5-pro``, ``openai/gpt-4o``. Two names
are compared by what is left when route, region, date and version are taken away. The rules come from
the vendors' model pages and from names seen in real traffic; docs/forensics.md lists them.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote


class ModelName(NamedTuple):
    """What a name says.

    Attributes:
        tokens: words and numbers of the family, sorted; empty where the name is no model's (a path, an ARN
            of somebody's own resource).
        snapshot: digits of the date or version that the name pins; empty where it pins none.
        maker: who makes the family, where it is known; else empty.
    """

    tokens: tuple[str, ...]
    snapshot: str
    maker: str


_MAKERS = {
    "Anthropic": "claude",
    "OpenAI": "gpt chatgpt o1 o3 o4 davinci babbage ada whisper tts dall sora codex computer",
    "Google": "gemini gemma learnlm bison gecko imagen veo",
    "Meta": "llama",
    "Mistral AI": "mistral mixtral ministral codestral pixtral magistral devstral voxtral",
    "Cohere": "command aya",
    "DeepSeek": "deepseek",
    "Alibaba": "qwen qwq",
    "xAI": "grok",
    "Amazon": "nova titan",
    "AI21": "jamba jurassic",
    "Microsoft": "phi",
    "Moonshot AI": "kimi",
    "Z.ai": "glm",
    "Perplexity": "sonar",
    "Voyage AI": "voyage",
}
_MAKER_OF = {word: maker for maker, words in _MAKERS.items() for word in words.split()}

# What a vendor documents as one model, and no rule would find.
_SAME = {
    "claude-v2": "claude-2.0",
    "claude-v2:1": "claude-2.1",
    "claude-instant-v1": "claude-instant-1.2",
    "gpt-4-turbo-preview": "gpt-4-preview",
    "davinci-002": "davinci",
    "babbage-002": "babbage",
}

_BEDROCK = re.compile(
    r"(?:(?:us|eu|apac|ap|au|ca|jp|sa|uk|in|us-gov|global)\.)?"
    r"(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|stability|writer|openai|qwen|google|nvidia|minimax|moonshot"
    r"|twelvelabs|luma|zai)\.(?=[a-z])"
)
_BEDROCK_VERSION = re.compile(r"-(v\d+)(?::(\d+))?(?::\w+)?\Z|:(\d+)(?::\w+)?\Z")
_OWN_RESOURCE = re.compile(r"arn:(?!.*:(?:inference-profile|foundation-model)/)|.*\bendpoints?/|/|[a-z]:\\")
_LEFT_OUT = frozenset(("", "0", "preview", "exp", "experimental", "latest", "beta", "default"))
_ROUTING = re.compile(r":(latest|free|nitro|floor|online|extended|exacto|beta|thinking|fastest|cheapest)\Z")
_VERSION_AFTER = r"(?:-v\d+)?(?::\d+)?(?=-|\Z)"
_FULL_DATE = re.compile(rf"(?:-v\d+)?[-@:](20\d\d)-?(\d\d)-?(\d\d){_VERSION_AFTER}")
_MONTH_YEAR = re.compile(r"-(\d\d)-(20\d\d)\Z")
_AFTER_CHANNEL = re.compile(r"(?<=-preview|....-exp)-(\d\d)-(\d\d)(?=-|\Z)")
_FOUR_DIGITS = re.compile(rf"[-@](\d{{4}}){_VERSION_AFTER}")
_THREE_DIGITS = re.compile(rf"[-@](00\d){_VERSION_AFTER}")
_NUMBER = re.compile(r"\d+\Z")
_WINDOW = re.compile(r"\d+k\Z")


@lru_cache(maxsize=4096)
def parse(name: str) -> ModelName:
    """Whatever the name is; nothing is raised."""
    text = unquote(name).strip().lower()[:512]
    if _OWN_RESOURCE.match(text):
        return ModelName((), "", "")
    tuned = ""
    if text.startswith("ft:"):
        text, _, tuned = text[3:].partition(":")
    text = _ROUTING.sub("", text.rpartition("/")[2])
    snapshot = ""
    if bedrock := _BEDROCK.match(text):
        text = text[bedrock.end() :]
        version = _BEDROCK_VERSION.search(text)
        if text not in _SAME and version is not None and version.start():
            text, snapshot = text[: version.start()], "".join(filter(None, version.groups()))
    text, pinned = _without_snapshot(_SAME.get(text, text))
    snapshot = pinned or snapshot
    tokens = _respelled([word for word in re.split(r"[^0-9a-z]+", text) if word not in _LEFT_OUT])
    maker = "OpenAI" if text.startswith("text-embedding-3") else next(filter(None, map(_maker, tokens)), "")
    return ModelName(tuple(sorted([*tokens, f"ft:{tuned}"] if tuned else tokens)), snapshot, maker)


def same_family(requested: ModelName, actual: ModelName) -> bool:
    """A requested name without any number (``gemini-flash-latest``) leaves the generation to the vendor."""
    asked, got = Counter(requested.tokens), Counter(actual.tokens)
    if asked == got:
        return True
    numbered = any(character.isdigit() for token in asked for character in token)
    return not numbered and not asked - got and all(_NUMBER.match(token) for token in got - asked)


def same_snapshot(requested: str, actual: str) -> bool:
    """``0613`` is month and day, ``2411`` year and month of a date."""
    short, long = sorted((requested, actual), key=len)
    return short == long or (len(long) == 8 and len(short) == 4 and short in (long[4:], long[2:6]))


def _without_snapshot(text: str) -> tuple[str, str]:
    """The name without its date or version, and the digits of that."""
    for match in _FULL_DATE.finditer(text):
        if _is_date(int(match[1]), int(match[2]), int(match[3])):
            return _cut(text, match), match[1] + match[2] + match[3]
    for match in _MONTH_YEAR.finditer(text):
        if 1 <= int(match[1]) <= 12:
            return _cut(text, match), match[2][2:] + match[1]
    for match in _AFTER_CHANNEL.finditer(text):
        return _cut(text, match), match[1] + match[2]
    for match in _FOUR_DIGITS.finditer(text):
        if _is_short_date(match[1]):
            return _cut(text, match), match[1]
    for match in _THREE_DIGITS.finditer(text):
        return _cut(text, match), match[1]
    return text, ""


def _cut(text: str, match: re.Match[str]) -> str:
    return text[: match.start()] + text[match.end() :]


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _is_short_date(digits: str) -> bool:
    """Month and day, or year and month since 2023."""
    first, second = int(digits[:2]), int(digits[2:])
    return _is_date(2024, first, second) or (23 <= first <= 39 and 1 <= second <= 12)


def _respelled(tokens: list[str]) -> list[str]:
    if tokens[:2] == ["gpt", "35"]:  # Azure's names had no dots
        return ["gpt", "3", "5", *tokens[2:]]
    if tokens[:1] == ["claude"]:  # Bedrock answers with the context window in the name
        return [token for token in tokens if not _WINDOW.match(token)]
    return tokens


def _maker(token: str) -> str:
    word = re.match(r"[a-z]+", token)
    return _MAKER_OF.get(token) or (_MAKER_OF.get(word[0], "") if word and len(word[0]) > 2 else "")
