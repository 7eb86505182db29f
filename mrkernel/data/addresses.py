"""URLs, and what of them people may see.

A URL may hold a password or a signature. Splits go to the journal, the logs, the views and the keys
of records, so they carry the URL with ``…`` in place of every secret. What that stands for travels
with the job's functions, which only those unpack who run them; each process keeps it here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from urllib.parse import quote, unquote

#: What stands for a secret.
HIDDEN = "…"

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_USER = re.compile(r"(?<=://)([^/?#@]*)@")
_PARAMETER = re.compile(
    r"[?&#;][^=&#;]*(?:sig|token|secret|pass|pwd|key|cred|auth|policy|code|session|jwt)[^=&#;]*="
    r"([^&#;]+)",
    re.IGNORECASE,
)

_SHORT = 4

_known: dict[str, str] = {}  # as people see it → as it is


def is_url(text: str) -> bool:
    """Whether a path is the URL of a file system that fsspec knows, rather than one of ours."""
    return "://" in text and _URL.match(text) is not None and not text.startswith("file://")


def is_on_the_web(url: str) -> bool:
    """Whether any program that knows the web can get it."""
    return url.startswith(("http://", "https://")) and "*" not in url


def plain_name(path: str) -> str:
    """A path, or a URL without what stands behind the name of the file."""
    return re.split(r"::|[?#]", path, maxsplit=1)[0] if is_url(path) else path


def last_name(path: str) -> str:
    """The last name of a path or a URL."""
    return PurePath(plain_name(path)).name


def hidden(url: str) -> str:
    """Write a URL, or a path, so that everybody may see it."""
    if not is_url(url):
        return url
    for start, end in sorted(_secrets(url), reverse=True):
        url = url[:start] + HIDDEN + url[end:]
    return url


def scrubbed(text: str, url: str) -> str:
    """Take the secrets of a URL out of what somebody said about it."""
    text = text.replace(url, hidden(url))
    for start, end in _secrets(url):
        secret = url[start:end]
        if len(secret) < _SHORT:
            continue  # it would be found in any text
        for spelling in {secret, quote(secret, safe=""), quote(secret), unquote(secret)}:
            text = text.replace(spelling, HIDDEN)
    return text


def keep(url: str, kept: dict[str, str]) -> str:
    """Choose what a URL is called where everybody may see it, and remember what that stands for.

    Args:
        kept: the secrets of one job, where it is noted; URLs that differ in nothing else get
            numbers.
    """
    shown = hidden(url)
    if shown == url:
        return url
    first, number = shown, 1
    while kept.get(shown, url) != url:
        number += 1
        shown = first.replace(HIDDEN, f"{HIDDEN}{number}", 1)
    kept[shown] = _known[shown] = url
    return shown


def learn(known: Iterable[tuple[str, str]]) -> None:
    """Take over what ``keep`` noted in another process."""
    _known.update(known)


def address_of(path: str) -> str:
    """The URL that a split's path stands for."""
    return _known.get(path, path)


def _secrets(url: str) -> list[tuple[int, int]]:
    """Where they are: (start, end)."""
    found = [match.span(1) for match in _PARAMETER.finditer(url)]
    user = _USER.search(url)
    if user is not None:
        name, colon, _ = user[1].partition(":")
        if colon:
            found.append((user.start(1) + len(name) + 1, user.end(1)))
        elif url.startswith("http"):  # a token: nobody is called so
            found.append(user.span(1))
    return [(start, end) for start, end in found if end > start]
