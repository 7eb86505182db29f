"""What functions carry with them: find the variable that cannot be sent, or is too large. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

_DEEPEST = 12


def _names_in(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            names |= _names_in(const)
    return names


def _children(name: str, obj: Any) -> Iterator[tuple[bool, str, Any]]:
    """What an object carries: (it is a variable of its own, what it is called, the thing)."""
    if isinstance(obj, FunctionType):
        code = obj.__code__
        for used in sorted(_names_in(code)):
            if used in obj.__globals__:
                yield True, used, obj.__globals__[used]
        for used, cell in zip(code.co_freevars, obj.__closure__ or (), strict=True):
            try:
                yield True, used, cell.cell_contents
            except ValueError:
                continue  # a cell that is still empty carries nothing
        defaults = obj.__defaults__ or ()
        arguments = code.co_varnames[: code.co_argcount]
        for used, default in zip(
            arguments[len(arguments) - len(defaults) :], defaults, strict=True
        ):
            yield True, used, default
        for used, default in (obj.__kwdefaults__ or {}).items():
            yield True, used, default
        for used, value in vars(obj).items():
            yield False, f"{name}.{used}", value
    elif isinstance(obj, MethodType):
        yield True, obj.__func__.__qualname__.rpartition(".")[0] or name, obj.__self__
        yield False, name, obj.__func__
    elif isinstance(obj, partial):
        yield True, getattr(obj.func, "__name__", name), obj.func
        for index, value in enumerate(obj.args):
            yield False, f"{name}.args[{index}]", value
        for used, value in obj.keywords.items():
            yield True, used, value
    elif isinstance(obj, dict):
        for key, value in obj.items():
            yield False, f"{name}[{key!r}]", value
    elif isinstance(obj, (list, tuple)):
        for index, value in enumerate(obj):
            yield False, f"{name}[{index}]", value
    elif isinstance(obj, (set, frozenset)):
        for value in obj:
            yield False, f"{name}", value
    elif isinstance(obj, type):
        for used, value in vars(obj).items():
            if used not in ("__dict__", "__weakref__", "__doc__", "__module__"):
                value = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
                yield isinstance(value, FunctionType), f"{name}.{used}", value
    elif not isinstance(obj, (ModuleType, str, bytes, int, float)):
        state = getattr(obj, "__dict__", None)
        if isinstance(state, dict):
            for used, value in state.items():
                yield False, f"{name}.{used}", value
        if type(obj).__module__ == "__main__":
            yield True, type(obj).__name__, type(obj)


def blame_unpicklable(
    roots: list[tuple[str, Any]], picklable: Callable[[Any], bool], error: BaseException
) -> str:
    """Say which variable keeps the functions from being sent.

    Args:
        roots: (role, function).
        picklable: tries one object.
        error: what the pickler said of the whole.
    """
    for role, root in roots:
        if not picklable(root):
            return _blame(role, root, picklable)
    return f"the functions cannot be sent to workers ({error}): define them in a cell of their own"


def _blame(role: str, root: Any, picklable: Callable[[Any], bool]) -> str:
    name = getattr(root, "__name__", role)
    path = [name if name != "<lambda>" else role]
    seen = {id(root)}
    found = root
    for _ in range(_DEEPEST):
        for own, called, child in _children(path[0], found):
            if id(child) in seen or picklable(child):
                continue
            seen.add(id(child))
            found = child
            path = [called, *path] if own else [called, *path[1:]]
            break
        else:
            break
    used = " used by ".join(f"`{each}`" for each in path)
    kind = type(found)
    called = kind.__qualname__ if kind.__module__ == "builtins" else _type_name(kind)
    return f"{used} is {_a(called)} and cannot be sent to workers: {_advice(found)}"


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _a(name: str) -> str:
    return f"{'an' if name.lstrip('_')[:1].lower() in 'aeiou' else 'a'} {name}"


def _advice(obj: Any) -> str:
    if isinstance(obj, GeneratorType):
        return "make it a list before, list(…)"
    if hasattr(obj, "read") and hasattr(obj, "close"):
        return "open it inside the function"
    if hasattr(obj, "cursor") or hasattr(obj, "connect"):
        return "connect inside the function"
    return "create it inside the function"


def blame_size(
    roots: list[tuple[str, Any]], total: int, measure: Callable[[Any], int], *, refused: bool
) -> str:
    """Say which variable makes the functions large.

    Args:
        roots: (role, function).
        total: bytes of all, or the limit that was passed.
        measure: bytes of one object, at most the limit.
        refused: the job is refused for it.
    """
    best: tuple[int, list[str]] = (0, ["mapper"])
    for role, root in roots:
        name = getattr(root, "__name__", role)
        size, path = _largest(name if name != "<lambda>" else role, root, measure, 0)
        best = max(best, (size, path), key=lambda pair: pair[0])
    used = " used by ".join(f"`{each}`" for each in best[1])
    size_text = f"{best[0] / 1e6:.0f} MB"
    if refused:
        return (
            f"{used} is {'over ' if best[0] >= total else ''}{size_text}, too much to send with "
            "the functions: make it the job's input, or load it from a file inside the function"
        )
    return (
        f"{used} is {size_text} and is sent to every worker: loading it from a file inside the "
        "function may be faster"
    )


def _largest(
    name: str, root: Any, measure: Callable[[Any], int], depth: int
) -> tuple[int, list[str]]:
    """The variable with the most bytes below a function, and the way to it."""
    size = measure(root)
    for own, called, child in _children(name, root):
        if not own or depth >= _DEEPEST or isinstance(child, (ModuleType, int, float, bool)):
            continue
        if measure(child) * 2 > size:
            below, path = _largest(called, child, measure, depth + 1)
            return below, [*path, name]
    return size, [name]
