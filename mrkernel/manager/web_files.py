"""What browsers are given: the few lines of HTML of each page, and the files that draw them.

The files of the live view are ``monitor/static``, those of the page around it ``static`` here; both
are read once, when the first browser comes, and known by their names: no path is ever looked up.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from urllib.parse import quote

from mrkernel.monitor.browser_module import STATIC

_FOLDERS = (STATIC, Path(__file__).parent / "static")
_KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}

# Three bars, as in every view.
_ICON = "data:image/svg+xml," + quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    '<rect y="2" width="16" height="3" rx="1.5" fill="#2f6fde"/>'
    '<rect y="6.5" width="12" height="3" rx="1.5" fill="#8250c4"/>'
    '<rect y="11" width="7" height="3" rx="1.5" fill="#14806b"/></svg>'
)

_HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="{_ICON}">
"""


def read_files() -> dict[str, tuple[str, bytes]]:
    """Return kind and bytes of each file, by its name."""
    paths = (path for folder in _FOLDERS for path in folder.iterdir() if path.suffix in _KINDS)
    return {path.name: (_KINDS[path.suffix], path.read_bytes()) for path in paths}


_SENTENCE_STYLE = (
    ":root { color-scheme: light dark; } "
    "body { max-width: 34em; margin: 12vh auto; padding: 0 16px; "
    "font: 15px/1.5 system-ui, sans-serif; } "
    "b { font-size: 13px; } a { color: inherit; } "
    "p { margin: 8px 0; padding: 12px 16px; overflow-wrap: anywhere; "
    "border: 1px solid #8886; border-left: 4px solid #c98500; border-radius: 6px; }"
)
# Shown while there is none, where they do not come by themselves.
_HINT = """<p id="hint" hidden>No worker is here: start one with <code>mrkernel worker</code>.</p>
"""

#: Lets a browser take this style, and no other that stands in a page.
SENTENCE_STYLE_HASH = f"sha256-{b64encode(sha256(_SENTENCE_STYLE.encode()).digest()).decode()}"


def page_html(topic: str, actions: Sequence[str], cluster: str) -> str:
    """A page that follows a topic.

    Args:
        topic: "cluster" or a job's id.
        actions: what can be done from there.
        cluster: the manager's name.
    """
    job = topic != "cluster"
    data = f"/jobs/{topic}.json" if job else "/cluster.json"
    where = f'<a href="/">mrkernel</a> <b>job {escape(topic)}</b>' if job else "<b>mrkernel</b>"
    hint = _HINT if not job and "add-worker" not in actions else ""
    return f"""{_HEAD}<title>{escape(topic)} · mrkernel</title>
<link rel="stylesheet" href="/static/view.css">
<link rel="stylesheet" href="/static/site.css">
<script type="module" src="/static/site.js"></script>
</head>
<body>
<header><nav aria-label="Where you are">{where}</nav>
<span class="links"><span>manager {escape(cluster)}</span> <a href="{escape(data)}">JSON</a>
<a href="/metrics">metrics</a></span></header>
<p id="notice" role="status" hidden></p>
<main id="view" data-topic="{escape(topic)}" data-actions="{escape(" ".join(actions))}"></main>
{hint}<noscript><p>The live view needs JavaScript; <a href="{escape(data)}">the same as JSON</a>
does not, nor does <code>mrkernel watch</code> in a terminal.</p></noscript>
</body>
</html>
"""


def sentence_html(sentence: str) -> str:
    """A page that says one sentence, to anybody: it asks for no other file."""
    said = re.sub("`([^`]*)`", r"<code>\1</code>", escape(sentence))
    return (
        f"{_HEAD}<title>mrkernel</title>\n<style>{_SENTENCE_STYLE}</style>\n</head>\n"
        f'<body><b><a href="/">mrkernel</a></b>\n<p>{said}</p></body></html>\n'
    )


def onward_html(path: str) -> str:
    """A page that goes on to another at once.

    No redirect: after one that a page elsewhere began (a notebook's, on ``localhost``), browsers
    keep back the cookie that came with it. Like one it leaves no address behind in the history.
    """
    path = escape(path)
    return (
        f'{_HEAD}<meta http-equiv="refresh" content="0; url={path}">\n<title>mrkernel</title>\n'
        f'</head>\n<body><p><a href="{path}">go on</a></p></body>\n</html>\n'
    )
