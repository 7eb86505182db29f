"""What a whole job means, in one process and without a shuffle: lists, a dict, Python's own sum."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from types import GeneratorType
from typing import Any

from oracle import group

from mrkernel.job.builtins import builtin_reducer
from mrkernel.shuffle.keys import decode, encode, normalise, spelling
from mrkernel.shuffle.partition import partition_of

Pair = tuple[Any, Any]


def exact(values: list[Any]) -> Any:
    floats = {*map(type, values)} == {float} and all(map(math.isfinite, values))
    return math.fsum(values) if floats else sum(values)


BUILTINS = {"sum": exact, "mean": lambda vs: exact(vs) / len(vs), "first": lambda vs: vs[0]}
BUILTINS |= {"count": len, "min": min, "max": max, "list": list, "set": set}
BUILTINS["stats"] = builtin_reducer("stats")
BUILTINS["top:2"] = lambda vs: heapq.nlargest(2, vs)


def parts(mapper: Any, splits: Iterable[Iterable[Any]], reducer: Any, **options: Any) -> Any:
    """Each part of the result: pairs in their order, each behind the key that decides its place."""
    partition, number = options.get("partitioner", partition_of), options.get("reduce_tasks", 2)
    maps = [[(normalise(k), v) for k, v in called(mapper, split)] for split in splits]
    if reducer == "none":
        return [[(k, (decode(encode(k), spelling(k)), v)) for k, v in pairs] for pairs in maps]
    if callable(options.get("combiner")):  # one of ours must not be seen in the result
        maps = [[pair for _, pair in reduced(options["combiner"], group(pairs))] for pairs in maps]
    groups = group(pair for pairs in maps for pair in pairs)
    if options.get("sort_values"):
        groups = [(key, sorted(values)) for key, values in groups]
    dealt = [[g for g in groups if partition(g[0], number) == part] for part in range(number)]
    return [sorted(reduced(reducer, some), key=lambda pair: encode(pair[0])) for some in dealt]


def called(mapper: Any, split: Iterable[Any]) -> list[Pair]:
    call = mapper() if isinstance(mapper, type) else mapper
    out = [tuple(pair) for record in split for pair in call(record) or ()]
    return out + list(getattr(call, "finish", list)() or ())


def reduced(reducer: Any, groups: Sequence[tuple[Any, list[Any]]]) -> list[tuple[Any, Pair]]:
    if reducer == "identity":
        return [(key, (key, value)) for key, values in groups for value in values]
    if isinstance(reducer, str):
        return [(key, (key, BUILTINS[reducer](values))) for key, values in groups]
    call, out = reducer() if isinstance(reducer, type) else reducer, []
    for key, values in groups:
        made = call(key, values)
        if isinstance(made, GeneratorType):
            out += [(key, (normalise(k), v)) for k, v in made]
        elif made is not None or not hasattr(call, "finish"):
            out.append((key, (key, made)))
    return out + [(normalise(k), (normalise(k), v)) for k, v in getattr(call, "finish", list)()]
