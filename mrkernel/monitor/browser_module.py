"""Joins the files of ``static`` into the one ES module that a notebook widget is given.

A web page loads ``static/view.js``, which imports the others. anywidget takes one module as a
string, so the files are put one behind the other, without any JavaScript tool. That works because
they keep to a little of the language, and a file that does not is refused:

* imports and exports stand at the margin; an import names what it takes from one file beside it,
  ``import { a, b } from "./c.js";``, and renames nothing;
* a file exports by ``export function``, ``class`` or ``const``; the entry may also export what
  another file has, ``export { a } from "./c.js";``, and ``export default``;
* a declaration at the margin has one name, no two files have one in common there, and no imports
  go round in a circle;
* a text ends on its line, so that comments and indents can be left out: each widget, and each saved
  notebook, carries the module.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

#: The browser's files: ``view.js`` is their entry, ``view.css`` their style.
STATIC = Path(__file__).parent / "static"

_IMPORT = re.compile(r'^(import|export) \{([^}]*)\} from "\./([\w.-]+)";\n', re.MULTILINE)
_NAMED = re.compile(
    r"^(export )?(?:async )?(?:function\*?|class|const|let|var) +([\w$]+|[\[{])", re.MULTILINE
)
_STRAY = re.compile(r"^(?:import|export)\b(?! default\b).*", re.MULTILINE)
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
_COMMENT = re.compile(r"^//.*\n|^/\*[\s\S]*?\*/\n", re.MULTILINE)


class JoinError(ValueError):
    """The browser's files cannot be joined; the sentence says which and why."""


@cache
def browser_module() -> str:
    """The whole browser module, for anywidget."""
    return join(STATIC)


def join(folder: Path, entry: str = "view.js") -> str:
    """Join ``entry`` and the files it needs; each comes behind those it needs itself.

    Raises:
        JoinError: a file does not keep to the rules above.
    """
    texts: dict[str, str] = {}
    _read(folder, entry, texts, ())
    owners: dict[str, str] = {}  #: name at the margin → its file
    exported: dict[str, set[str]] = {}
    parts = []
    for file, text in texts.items():
        exported[file] = set()
        for found in _NAMED.finditer(text):
            name = found[2]
            if name in "[{":
                raise JoinError(f"{file} takes something apart at the margin: {found[0]} …")
            if name in owners:
                raise JoinError(f"{owners[name]} and {file} both have {name} at the margin")
            owners[name] = file
            if found[1]:
                exported[file].add(name)
        body = _IMPORT.sub("", text)
        for kind, names, source in _IMPORT.findall(text):
            taken = [name.strip() for name in names.split(",") if name.strip()]
            for name in taken:
                if name not in exported[source]:
                    raise JoinError(
                        f"{file} takes {name} from {source}, which exports no such name"
                    )
            if kind == "export":
                body += f"\nexport {{ {', '.join(taken)} }};\n"
        if file != entry:
            if "export default" in body or "\nexport {" in body:
                raise JoinError(f"{file} exports more than its own names; only {entry} may")
            body = _NAMED.sub(lambda found: found[0].removeprefix("export "), body)
        lines = body.splitlines()
        if any(line.count("`") % 2 for line in lines):
            raise JoinError(f"{file} has a text of several lines")
        stray = next((found[0] for found in _STRAY.finditer(body) if not _fine(found[0])), None)
        if stray is not None:
            raise JoinError(f"{file} has a line that cannot be joined: {stray}")
        parts.append(f"// ---- {file}\n{_bare(body)}")
    return "\n".join(parts)


def _read(folder: Path, file: str, texts: dict[str, str], above: tuple[str, ...]) -> None:
    """Read a file behind those it needs."""
    if file in above:
        raise JoinError(f"imports go round in a circle: {' → '.join((*above, file))}")
    if file in texts:
        return
    text = (folder / file).read_text(encoding="utf-8")
    for _, _, source in _IMPORT.findall(text):
        _read(folder, source, texts, (*above, file))
    texts[file] = text


def _bare(text: str) -> str:
    """Leave out what only people read."""
    return "".join(
        f"{line}\n" for line in _COMMENT.sub("", _INDENT.sub("", text)).split("\n") if line
    )


def _fine(line: str) -> bool:
    """Whether a line of the entry may begin so: it exports what is here."""
    return bool(_NAMED.match(line)) or (line.startswith("export {") and " from " not in line)
