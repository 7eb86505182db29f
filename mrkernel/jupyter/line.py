"""The line of a magic: words as a shell cuts them, and ``{expressions}`` that are objects."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass
from typing import Any

from IPython.core.error import UsageError

_SOURCE = re.compile(r"([^\W\d]\w*)=(?={)")


@dataclass(frozen=True, slots=True)
class Expression:
    """A whole word ``{code}``, or ``name={code}``: the object itself is meant, not its text."""

    code: str
    source: str = ""  #: the name


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an expression gave."""

    code: str
    value: Any
    source: str = ""


def split_line(line: str) -> list[str | Expression]:
    """Cut a magic's line into words, as a shell does.

    Raises:
        UsageError: a brace or a quote is not closed.
    """
    words: list[str | Expression] = []
    rest = line.strip()
    while rest:
        source = _SOURCE.match(rest)
        begin = 0 if source is None else source.end()
        if rest[begin : begin + 1] == "{":
            end = _expression_end(rest[begin:])
            if end is not None:
                code = rest[begin + 1 : begin + end - 1].strip()
                words.append(Expression(code, "" if source is None else source[1]))
                rest = rest[begin + end :].lstrip()
                continue
        word, rest = _shell_word(rest)
        words.append(word)
    return words


def _expression_end(text: str) -> int | None:
    """Where the expression that ``text`` begins with ends; None when it is part of a path.

    Raises:
        UsageError: it is neither.
    """
    wrong = ""
    start = 0
    while (close := text.find("}", start)) >= 0:
        start = close + 1
        if start < len(text) and not text[start].isspace():
            continue  # {x}/data.txt, or a brace in the middle of the expression
        code = text[1:close].strip()
        try:
            ast.parse(code, mode="eval")
        except SyntaxError as error:
            # A } inside a string or a nested brace, or what the user meant to be all.
            wrong = f"{{{code}}} is not an expression of Python: {error.msg}"
            continue
        return start
    word = text.split()[0]
    if word.count("{") <= word.count("}"):
        return None
    raise UsageError(wrong or f"{word} opens a brace that is never closed")


def _shell_word(text: str) -> tuple[str, str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        word = lexer.get_token() or ""
    except ValueError as error:
        raise UsageError(f"{text.split()[0]}: {error}") from error
    rest: str = lexer.instream.read()  # type: ignore[call-arg]  # a StringIO, typed as less
    return word, rest.lstrip()
