"""Says where a reducer in Python does what a built-in does, and what the built-in would save. Pure.

Nothing is swapped behind anybody's back: this gives a sentence to show. A reducer is taken for a
built-in only if both agree:

* its code is, name by name and step by step, one of the ways to write the built-in that stand
  here, compiled by this very Python, and `sum`, `len` and the like are Python's own;
* on the groups of a trial it gives what the built-in gives, to the last digit of a float.
"""

from __future__ import annotations

import builtins
import math
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from mrkernel.job.builtins import builtin_reducer

#: Built-in → how to write it: expressions of the values v, or lines that make one called r.
_WAYS: dict[str, tuple[str, ...]] = {
    "sum": (
        "sum(v)",
        "sum(list(v))",
        "sum(x for x in v)",
        "sum([x for x in v])",
        "r = 0\nfor x in v: r += x",
        "r = 0\nfor x in v: r = r + x",
        "r = 0.0\nfor x in v: r += x",
    ),
    "count": (
        "len(v)",
        "len(list(v))",
        "sum(1 for x in v)",
        "sum([1 for x in v])",
        "r = 0\nfor x in v: r += 1",
        "r = 0\nfor x in v: r = r + 1",
    ),
    "min": ("min(v)", "min(list(v))"),
    "max": ("max(v)", "max(list(v))"),
    "mean": (
        "sum(v) / len(v)",
        "v = list(v)\nr = sum(v) / len(v)",
        "x = list(v)\nr = sum(x) / len(x)",
        "s = n = 0\nfor x in v:\n s += x\n n += 1\nr = s / n",
        "s = 0\nn = 0\nfor x in v:\n s += x\n n += 1\nr = s / n",
    ),
    "first": ("next(iter(v))", "list(v)[0]"),
    "top:N": (
        "sorted(v, reverse=True)[:N]",
        "sorted(list(v), reverse=True)[:N]",
        "sorted(v)[::-1][:N]",
    ),
}

#: Flags of a code that say what it gives back: a generator, a coroutine; and ``*args``. Others say
#: what was imported from ``__future__``.
_KIND = 0x04 | 0x08 | 0x20 | 0x80 | 0x200
#: Global names in them.
_NAME = re.compile(r"\b[a-z]{3,}(?=\()")

#: Built-in → how many times less CPU shuffle and reduce took with it than with the reducer in
#: Python, at best of two jobs: 4 million words of source text (four splits, each with about
#: 200,000 distinct words), and 4 million floats under 25 keys. Measured in one process, the mapper
#: left out. ``list`` and ``set`` are not here: they took as long.
_GAIN = {
    "sum": 1.8,
    "count": 1.8,
    "min": 1.6,
    "max": 1.6,
    "mean": 1.4,
    "first": 2.9,
    "top:N": 2.6,
}
#: The same where map tasks combine: in Python, by a built-in.
_GAIN_OVER_COMBINER = {FunctionType: 2.3, str: 1.6}

#: One group of the trial: key, values, what the reducer gave.
Tried = tuple[Any, Sequence[Any], Sequence[tuple[Any, Any]]]


def suggest(reducer: Any, combiner: Any, tried: Sequence[Tried]) -> str | None:
    """Say which built-in would do what the reducer does, and what it would save.

    Args:
        reducer, combiner: as in ``Functions``.
        tried: groups of a trial run; without any there is nothing to compare.

    Returns:
        A sentence for the user; None where no built-in is known to do the same, or to save much.
    """
    name = builtin_like(reducer)
    if name is None or not tried:
        return None
    gain = _GAIN["top:N" if name.startswith("top") else name]
    if combiner is not None:
        if name not in ("sum", "min", "max") or name not in (combiner, builtin_like(combiner)):
            return None
        gain = _GAIN_OVER_COMBINER[str if isinstance(combiner, str) else FunctionType]
    function = builtin_reducer(name)
    for key, values, pairs in tried:
        if len(pairs) != 1 or pairs[0][0] is not key or not _alike(pairs[0][1], function(values)):
            return None
    instead = "and leave the combiner out" if combiner is not None else "in its place"
    return (
        f"the reducer does what the built-in {name} does: write --reducer {name} {instead}, for up "
        f"to {gain} x less CPU in shuffle and reduce (measured on 4 million pairs, not here)"
    )


def builtin_like(function: Any) -> str | None:
    """Name the built-in that a reducer's code spells out, such as "sum"; None if there is none."""
    if type(function) is not FunctionType or function.__closure__ or function.__defaults__:
        return None
    code = function.__code__
    if code.co_argcount != 2 or code.co_kwonlyargcount or not _all_builtin(function, code):
        return None
    used = _names(code)
    for name, ways in _WAYS.items():
        numbers = set(_numbers(code)) if name == "top:N" else {0}
        for way in ways:
            if used != set(_NAME.findall(way)):
                continue  # most are told apart before anything is compiled
            for number in numbers:
                written = way.replace("N", str(number))
                if any(_same(code, each) for each in _compiled(written, function.__doc__)):
                    return name.replace("N", str(number))
    return None


def _names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    return found.union(*(_names(each) for each in code.co_consts if type(each) is CodeType))


def _all_builtin(function: FunctionType, code: CodeType) -> bool:
    """Say whether all global names in a code mean what they mean in Python itself."""
    known = vars(builtins)
    for name in code.co_names:
        meant = function.__globals__.get(name, known.get(name))
        if name not in known or meant is not known[name]:
            return False
    return all(_all_builtin(function, each) for each in code.co_consts if type(each) is CodeType)


def _numbers(code: CodeType) -> Iterator[int]:
    """List the ints in a code that may be the N of top:N."""
    for const in code.co_consts:
        number = const.stop if type(const) is slice else const
        if type(number) is int and 0 < number <= 1_000_000:
            yield number


@lru_cache(maxsize=256)
def _compiled(way: str, doc: str | None) -> tuple[CodeType, ...]:
    """Compile one way to write a built-in as the functions that people make of it."""
    if "\n" in way:
        lines, ends = way, ("yield k, r", "return r")
        last = way.rpartition("\n")[2]
        if last.startswith("r = "):
            lines = way.rpartition("\n")[0]
            made = last.removeprefix("r = ")
            bodies = [f"{way}\n{end}" for end in ends]
            bodies += [f"{lines}\nyield k, {made}", f"{lines}\nreturn {made}"]
        else:
            bodies = [f"{way}\n{end}" for end in ends]
    else:
        bodies = [f"yield k, {way}", f"return {way}", f"r = {way}\nyield k, r"]
        bodies.append(f"r = {way}\nreturn r")
    found = []
    for body in bodies:
        text = "" if doc is None else f" {doc!r}\n"
        source = f"def reducer(k, v):\n{text} " + body.replace("\n", "\n ")
        module = compile(source, "<built-in>", "exec", dont_inherit=True)
        found.append(next(const for const in module.co_consts if type(const) is CodeType))
    return tuple(found)


def _same(one: CodeType, other: CodeType) -> bool:
    """Say whether two codes do the same, whatever their variables and lines are called."""
    if one.co_code != other.co_code or one.co_names != other.co_names:
        return False
    if (one.co_flags ^ other.co_flags) & _KIND or len(one.co_consts) != len(other.co_consts):
        return False
    for mine, its in zip(one.co_consts, other.co_consts, strict=True):
        if type(mine) is not type(its):
            return False
        if not (_same(mine, its) if type(mine) is CodeType else _const_same(mine, its)):
            return False
    return True


def _const_same(mine: Any, its: Any) -> bool:
    # A generator expression's qualified name says where it stands.
    return bool(mine == its) or (isinstance(mine, str) and ".<locals>." in mine)


def _alike(got: Any, want: Any) -> bool:
    if type(got) is float and type(want) is float:
        return math.isclose(got, want, rel_tol=1e-12) or (got != got and want != want)
    return type(got) is type(want) and bool(got == want)
