"""Which plugin opens a URL, and whether it is a storage that it gave.

A session that is opened by another plugin than yesterday is a new one, whose calls are all paid again. So nothing is
left to the order in which two plugins of one rank were found, and what is no storage is refused before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from custody.errors import CustodyError, PluginError
from custody.hooks.results import WrongResult
from custody.storage import Storage

Opener = tuple[str, Callable[[Any], Any]]

_PARTS = [name for name in ("url", *vars(Storage)) if not name.startswith("_")]


class Opening:
    """Args:
    rank: of a plugin; the lowest is asked first.
    failed: told of a plugin that broke down where another one opened the URL.
    """

    def __init__(self, rank: Callable[[str], int], failed: Callable[[str, BaseException], None]) -> None:
        self._rank, self._failed = rank, failed
        self._undisputed: set[str] = set()

    def open(self, order: Iterable[Opener], url: str, create: bool) -> Storage:
        """Raises PluginError, and what a plugin says itself: a CustodyError or an OSError."""
        broken: list[tuple[str, BaseException]] = []  # over a path, which need not have been theirs
        for _, rank in groupby(order, lambda opener: self._rank(opener[0])):
            openers = list(rank)
            self._one_only(openers, url)
            for plugin, function in openers:
                try:
                    found = function((url, create))
                except (CustodyError, OSError):  # a word to the user: nothing goes on without it
                    raise
                except (Exception, SystemExit) as error:
                    if "://" in url:
                        raise _broken(plugin, url, error) from error
                    broken.append((plugin, error))
                    continue
                if found is None:
                    continue
                wrong = _wrong(plugin, url, found)
                if wrong is not None:
                    if "://" in url:
                        raise PluginError(wrong)
                    broken.append((plugin, WrongResult(wrong)))
                    continue
                for each in broken:
                    self._failed(*each)
                return found  # type: ignore[no-any-return]
        if broken:
            raise _broken(broken[0][0], url, broken[0][1]) from broken[0][1]
        raise PluginError(f"{url}: no plugin opens {_scheme(url)}; see 'custody plugins'")

    def _one_only(self, openers: list[Opener], url: str) -> None:
        """Once for each store; asked so that nothing is made."""
        scheme, separator, rest = url.partition("://")
        store = f"{scheme}://{rest.partition('/')[0]}" if separator else ""
        if len(openers) < 2 or store in self._undisputed:
            return
        knowing = sorted(plugin for plugin, function in openers if _knows(function, url))
        if len(knowing) > 1:
            raise PluginError(
                f"{url}: the plugins {' and '.join(knowing)} both open {_scheme(url)}, and they would not find each "
                f"other's sessions. Choose one, always the same, by leaving out the other: "
                f"CUSTODY_DISABLED_PLUGINS={','.join(knowing[1:])}"
            )
        self._undisputed.add(store)


def _knows(function: Callable[[Any], Any], url: str) -> bool:
    try:
        return function((url, False)) is not None
    except (CustodyError, OSError):
        return True
    except (Exception, SystemExit):  # said when it is asked in earnest
        return False


def _broken(plugin: str, url: str, error: BaseException) -> PluginError:
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return PluginError(f"{url}: the plugin {plugin} broke down when it was to open it ({said[:300]})")


def _wrong(plugin: str, url: str, found: Any) -> str | None:
    """Why it is no storage; None where it is one."""
    missing = [name for name in _PARTS if not hasattr(found, name)]
    if len(missing) == len(_PARTS):
        return f"{url}: the plugin {plugin} opened it as a {type(found).__name__}, which is no storage"
    if missing:
        return (
            f"{url}: the plugin {plugin} opened it as a {type(found).__name__}, which is half a storage: it has no "
            f"{', '.join(missing)}"
        )
    if not isinstance(found.url, str) or not found.url:
        return f"{url}: the storage of the plugin {plugin} has {found.url!r} for a url, and not a text"
    return None


def _scheme(url: str) -> str:
    return f"{url.partition('://')[0]}://" if "://" in url else "local paths"
