"""What a user gives as mapper, reducer or combiner: a function, a class, or an object to call.

Everything that can be told before the first record is told here, in one sentence that says what to
instead. A class is made once per task and called per record or group, ``finish()`` comes last.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, NamedTuple

from mrkernel.errors import JobSpecError
from mrkernel.job.failure import UserCodeError, user_failure
from mrkernel.job.program import Program

#: What to write, by role.
EXAMPLES = {
    "mapper": "def mapper(record): yield key, value",
    "reducer": "def reducer(key, values): yield key, sum(values)",
    "combiner": "def combiner(key, values): yield key, sum(values)",
    "partitioner": "def partitioner(key, partitions): return number % partitions",
}
_GENERATOR = inspect.CO_GENERATOR


class Prepared(NamedTuple):
    """A callable that is ready for a task."""

    call: Callable[..., Any]
    finish: Callable[[], Any] | None  #: to call at the end of the task
    generator: bool  #: it is a generator function: calling it gives a generator, never None
    required: int  #: positional parameters without a default


def prepare(given: Any, role: str) -> Prepared:
    """Make a class, look at a function, and refuse what cannot work.

    Args:
        given: what the user passed.
        role: "mapper", "reducer" or "combiner".

    Raises:
        JobSpecError: it cannot be called as its role demands; says what to write.
        UserCodeError: the class raised while it was made.
    """
    example = EXAMPLES[role]
    if not callable(given):
        kind = type(given).__name__
        raise JobSpecError(f"the {role} is {_a(kind)} and cannot be called: write {example}")
    finish = None
    name = getattr(given, "__name__", type(given).__name__)
    if isinstance(given, BuiltinFunctionType) and role != "mapper":
        _check_not_pythons(given, name, role)
    if isinstance(given, type):
        given = _made(given, name, role)
    if not isinstance(given, (FunctionType, MethodType)):
        finish = getattr(given, "finish", None)
    function = _function_of(given)
    code = function.__code__ if isinstance(function, FunctionType) else None
    if code is not None and code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        raise JobSpecError(f"{_the(role, name)} is async: write def {name}(…), without async")
    if code is not None and finish is None and gives_nothing(given):
        raise JobSpecError(_gives_nothing_sentence(name, role, "print" in code.co_names))
    generator = code is not None and bool(code.co_flags & _GENERATOR)
    return Prepared(given, finish, generator, required_parameters(given, role, name))


def check(given: Any, role: str) -> None:
    """Refuse what cannot work, without making a class: that is for the tasks.

    Args:
        given: what the user passed.
        role: "mapper", "reducer", "combiner" or "partitioner".

    Raises: JobSpecError: it cannot be called as its role demands; says what to write.
    """
    if isinstance(given, Program):
        return  # looked at when it was found
    if isinstance(given, type):
        _check_class(given, given.__name__, role)
    elif role != "partitioner":
        prepare(given, role)
    elif not callable(given):
        raise JobSpecError(
            f"the partitioner is {_a(type(given).__name__)} and cannot be called: "
            f"write {EXAMPLES[role]}"
        )


def _the(role: str, name: str) -> str:
    return f"the {role}" if name == role else f"the {role} {name}"


def _a(kind: str) -> str:
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def _check_not_pythons(given: Any, name: str, role: str) -> None:
    """Refuse ``reducer=sum``: Python's sum would be called with the key."""
    if given.__module__ == "builtins":
        quoted = f', or "{name}" in quotes for the built-in {role}' if role != "mapper" else ""
        raise JobSpecError(
            f"the {role} {name} is Python's own {name}: write {EXAMPLES[role]}{quoted}"
        )


def _check_class(given: type, name: str, role: str) -> None:
    _check_not_pythons(given, name, role)
    if not any("__call__" in base.__dict__ for base in given.__mro__ if base is not object):
        raise JobSpecError(_no_call_sentence(name, role))
    try:
        needed = [
            p.name
            for p in inspect.signature(given).parameters.values()
            if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        needed = []  # a class from C without a signature: try it
    if needed:
        raise JobSpecError(
            f"class {name} needs {', '.join(needed)} to be made, and a task makes it without "
            f"arguments: give {needed[0]} a default, or pass a function"
        )


def _made(given: type, name: str, role: str) -> Any:
    _check_class(given, name, role)
    try:
        return given()
    except Exception as error:
        raise UserCodeError(user_failure(error, role=role, where=f"{name}()")) from error


def _no_call_sentence(name: str, role: str) -> str:
    arguments = "record" if role == "mapper" else "key, values"
    return (
        f"class {name} cannot be called per {'record' if role == 'mapper' else 'group'}: "
        f"write its method as def __call__(self, {arguments})"
    )


def _function_of(given: Any) -> Any:
    """The Python function behind a partial, a method or an object with ``__call__``."""
    for _ in range(20):
        if isinstance(given, partial):
            given = given.func
        elif isinstance(given, MethodType):
            given = given.__func__
        elif isinstance(given, FunctionType):
            return given
        else:
            call = inspect.getattr_static(type(given), "__call__", None)
            if not isinstance(call, FunctionType):
                return given
            given = call
    return given


def required_parameters(given: Any, role: str, name: str) -> int:
    """Count the positional parameters that must be given; check that the role's can be.

    Raises: JobSpecError: too few or too many, or a keyword without default.
    """
    wanted = (1, 2) if role == "mapper" else (2,)
    if type(given) is FunctionType and not given.__dict__:
        # As below, at a twentieth of the cost: a plain function, which nothing was wrapped around.
        code = given.__code__
        needed = code.co_argcount - len(given.__defaults__ or ())
        plain = not code.co_kwonlyargcount and not code.co_flags & inspect.CO_VARARGS
        if plain and wanted[0] <= code.co_argcount and needed <= wanted[-1]:
            return max(needed, wanted[0])
    try:
        parameters = list(inspect.signature(given).parameters.values())
    except (TypeError, ValueError):
        function = _function_of(given)
        if isinstance(function, FunctionType) and not function.__code__.co_argcount:
            # A method without self has no signature as a method.
            raise JobSpecError(_parameters_sentence(given, role, name, [], 0)) from None
        return wanted[0]  # C code without a signature: its own error will tell
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(p.default is p.empty for p in positional)
    most = 99 if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional)
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty:
            raise JobSpecError(
                f"{_the(role, name)} needs {p.name}=…, which nobody passes: give it a default, or "
                f"functools.partial({name}, {p.name}=…)"
            )
    if most < wanted[0] or required > wanted[-1]:
        raise JobSpecError(_parameters_sentence(given, role, name, positional, most))
    return max(required, wanted[0])


def _parameters_sentence(
    given: Any, role: str, name: str, positional: list[inspect.Parameter], most: int
) -> str:
    count = len(positional)
    takes = "no argument" if most == 0 else f"{count} argument{'s' if count > 1 else ''}"
    label = name if name != "<lambda>" else "lambda"
    if role == "mapper":
        want = f"def {name}(record)" if name != "<lambda>" else "lambda record: …"
        instead = f"{want} for the record, or (key, record) to get its place too"
    else:
        want = f"def {name}(key, values)" if name != "<lambda>" else "lambda key, values: …"
        instead = f"{want}, the key of the group and all its values"
    if not isinstance(given, (FunctionType, MethodType, partial)):
        arguments = "self, record" if role == "mapper" else "self, key, values"
        label, instead = f"{name}.__call__", f"def __call__({arguments})"
    return f"{_the(role, label)} takes {takes}: write {instead}"


def gives_nothing(given: Any) -> bool:
    """Whether every way out of a Python function returns None: it can give no pair and no value.

    Read from the byte code, so it is true for all inputs, not only for those tried.
    """
    function = _function_of(given)
    if not isinstance(function, FunctionType):
        return False
    flags = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    if function.__code__.co_flags & flags:
        return False
    returns = []
    before: dis.Instruction | None = None
    for instruction in dis.get_instructions(function):
        if instruction.opname == "RETURN_CONST":  # Python 3.12 and 3.13
            returns.append(instruction.argval is None)
        elif instruction.opname == "RETURN_VALUE":
            const = before is not None and before.opname == "LOAD_CONST"
            returns.append(const and before is not None and before.argval is None)
        before = instruction
    return bool(returns) and all(returns)


def _gives_nothing_sentence(name: str, role: str, prints: bool) -> str:
    if role == "mapper":
        if prints:
            return (
                f"{_the(role, name)} prints and never yields, so it gives no pairs: write "
                "yield key, value in place of print(key, value)"
            )
        return (
            f"{_the(role, name)} never yields, so it gives no pairs: write yield key, value "
            "(or return [] where there are none)"
        )
    if prints:
        return (
            f"{_the(role, name)} prints and gives nothing back: write yield key, value in place of "
            "print(key, value)"
        )
    return (
        f"{_the(role, name)} has no return, so it gives nothing back: end it with "
        "return sum(values) or yield key, sum(values)"
    )
