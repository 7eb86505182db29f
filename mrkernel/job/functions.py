"""The user's functions, packed for other processes.

Functions of the notebook travel by value (cloudpickle). Modules of the user's own, those that are
neither of the standard library nor installed, travel as source, read from disk when the job is
submitted: an edited module is used by the next run, also where the notebook still holds the old one
in memory, because functions of such modules are always sent as (module, name), never by value.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import msgspec

from mrkernel.data import addresses
from mrkernel.errors import JobSpecError
from mrkernel.job.captures import blame_size, blame_unpicklable
from mrkernel.job.failure import SOURCE_NAMES, UserCodeError, frames_of, owner_of, user_failure
from mrkernel.job.modules import LocalModules, Source
from mrkernel.job.program import Program, ShippedFile

#: Functions that carry more than this many bytes get a note; more than the other are refused.
NOTE_BYTES = 64 << 20
MOST_BYTES = 512 << 20
_LONGEST_SOURCE = 1 << 20


@dataclass(frozen=True)
class Functions:
    """What a job runs: functions, classes, or names of built-ins."""

    mapper: Any
    reducer: Any = None  #: None: map only
    combiner: Any = None
    partitioner: Any = None
    files: tuple[ShippedFile, ...] = ()  #: that lie in the folder of every task
    addresses: tuple[tuple[str, str], ...] = ()  #: of inputs, whose URLs hold secrets

    @property
    def has_program(self) -> bool:
        """Whether one of them is a program."""
        each = (self.mapper, self.reducer, self.combiner, self.partitioner)
        return any(isinstance(one, Program) for one in each)


@dataclass(frozen=True)
class Packed:
    """Functions ready to send."""

    data: bytes  #: for ``unpack``
    notes: tuple[str, ...] = ()  #: sentences the user should read
    modules: tuple[str, ...] = ()  #: names of the modules that travel as source


class _Package(msgspec.Struct, frozen=True, array_like=True):
    """The bytes of ``Packed.data``."""

    functions: bytes
    modules: list[Source]
    sources: dict[str, str]  #: text of cells, by the file name their code objects carry
    names: dict[str, str]  #: file name → what people call it
    python: tuple[int, int]


class TooLarge(Exception):
    """The pickle passed the limit; not an error of the user's objects."""


class _Sink:
    """A file to pickle into which refuses to grow without end."""

    def __init__(self, limit: int) -> None:
        self._parts: list[bytes] = []
        self._limit = limit
        self.size = 0

    def write(self, data: Any) -> int:
        part = bytes(data)
        self.size += len(part)
        if self.size > self._limit:
            raise TooLarge
        self._parts.append(part)
        return len(part)

    def join(self) -> bytes:
        return b"".join(self._parts)


@lru_cache(maxsize=1)
def _pickler_class() -> Any:
    """The pickler; made at first use, because importing cloudpickle costs 40 ms."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        """Sends what belongs to a local module by name, and notes what the rest needs."""

        def __init__(self, sink: _Sink, modules: LocalModules) -> None:
            super().__init__(sink, protocol=5)
            self._modules = modules
            self.files: set[str] = set()  # of code that travels by value

        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)
            if kind is ModuleType:
                if self._modules.use(obj.__name__):
                    return importlib.import_module, (obj.__name__,)
            elif kind is MethodType:
                # Looked up again where it runs: the function below a class method has its name.
                name = obj.__func__.__name__
                if getattr(obj.__self__, name, None) == obj:
                    return getattr, (obj.__self__, name)
            elif isinstance(obj, (type, FunctionType)):
                name = getattr(obj, "__qualname__", "<locals>")
                module = getattr(obj, "__module__", None)
                if module and "<" not in name and self._modules.use(module):
                    return _attribute, (module, name)
                code = getattr(obj, "__code__", None)
                if code is not None and self._by_value(obj):
                    self.files.add(code.co_filename)
                    self._modules.use_imports_of(code)
            return super().reducer_override(obj)

        @staticmethod
        def _by_value(obj: Any) -> bool:
            return owner_of(obj.__code__.co_filename) == "user"

    return Pickler


def _attribute(module: str, name: str) -> Any:
    """Look up a function or class of a shipped module, as it is in its newest source."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise JobSpecError(
                f"{module}.py has no {name} any more, and the notebook still uses the old one: run "
                f"the cell with from {module} import … again"
            ) from None
    return found


def pack(
    functions: Functions,
    *,
    beside: Path | None = None,
    names: Mapping[str, str] | None = None,
    also: Iterable[str] = (),
) -> Packed:
    """Pack functions with all they need.

    Args:
        functions: what to pack.
        beside: where the notebook is; modules there that are not loaded yet travel as well when a
            function imports them. None: this process's directory.
        names: file name of a code object → what people call it, such as a cell's ("cell 3").
        also: modules that the records need; those of the user's own travel, too.

    Raises: JobSpecError: something the functions use cannot be sent; names the variable and the way
        to it, and what to do instead.
    """
    modules = LocalModules(Path.cwd() if beside is None else Path(beside))
    for name in also:
        modules.use(name)
    data, files = _dump(functions, modules)
    notes: tuple[str, ...] = ()
    if len(data) > NOTE_BYTES:
        notes = (blame_size(_roots(functions), len(data), _measure(modules), refused=False),)
    package = _Package(
        functions=data,
        modules=modules.sources(),
        sources={file: text for file in sorted(files) if (text := _text_of(file))},
        names={file: name for file, name in (names or {}).items() if file in files},
        python=sys.version_info[:2],
    )
    return Packed(msgspec.msgpack.encode(package), notes, tuple(m.name for m in package.modules))


def _roots(functions: Functions) -> list[tuple[str, Any]]:
    """The functions by role, as messages call them."""
    given = zip(("mapper", "reducer", "combiner", "partitioner"), _fields(functions), strict=False)
    return [(role, each) for role, each in given if each is not None and not isinstance(each, str)]


def _fields(functions: Functions) -> tuple[Any, ...]:
    """The fields (``dataclasses.astuple`` would copy them)."""
    roles = functions.mapper, functions.reducer, functions.combiner, functions.partitioner
    return *roles, functions.files, functions.addresses


def _dump(functions: Functions, modules: LocalModules) -> tuple[bytes, set[str]]:
    sink = _Sink(MOST_BYTES)
    pickler = _pickler_class()(sink, modules)
    try:
        pickler.dump(_fields(functions))
    except TooLarge:
        roots = _roots(functions)
        raise JobSpecError(blame_size(roots, MOST_BYTES, _measure(modules), refused=True)) from None
    except Exception as error:
        raise JobSpecError(
            blame_unpicklable(_roots(functions), lambda obj: _picklable(obj, modules), error)
        ) from error
    return sink.join(), pickler.files


def _picklable(obj: Any, modules: LocalModules) -> bool:
    try:
        _pickler_class()(_Sink(MOST_BYTES), modules).dump(obj)
    except TooLarge:
        return True
    except Exception:  # noqa: BLE001 - the answer is the report
        return False
    return True


def _measure(modules: LocalModules) -> Callable[[Any], int]:
    def measure(obj: Any) -> int:
        sink = _Sink(MOST_BYTES)
        try:
            _pickler_class()(sink, modules).dump(obj)
        except TooLarge:
            return MOST_BYTES
        return sink.size

    return measure


def _text_of(file: str) -> str:
    text = "".join(linecache.getlines(file))
    return text if len(text) <= _LONGEST_SOURCE else ""


class _ShippedFinder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules from the sources that came with the functions."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = {source.name: source for source in sources}
        self.tops = {name.partition(".")[0] for name in self._sources}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        source = self._sources.get(fullname)
        if source is None:
            return None
        spec = importlib.util.spec_from_loader(
            fullname, self, origin=source.file, is_package=source.package
        )
        if spec is not None:
            spec.has_location = True
            if source.package:  # what was not shipped is still found where the disk is shared
                spec.submodule_search_locations = [str(Path(source.file).parent)]
        return spec

    def get_source(self, fullname: str) -> str:
        return self._sources[fullname].text

    def is_package(self, fullname: str) -> bool:
        return self._sources[fullname].package

    def exec_module(self, module: ModuleType) -> None:
        source = self._sources[module.__name__]
        code = compile(source.text, source.file, "exec", dont_inherit=True)
        exec(code, module.__dict__)

    def owns(self, name: str) -> bool:
        """Whether a loaded module must make room for, or came from, these sources."""
        return name.partition(".")[0] in self.tops

    def show_lines(self) -> None:
        """Let tracebacks show the shipped lines, whatever is on disk by then."""
        for source in self._sources.values():
            _remember_lines(source.file, source.text)


def _remember_lines(file: str, text: str) -> None:
    # Without a date, linecache.checkcache() leaves the entry alone.
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)


def unpack(data: bytes) -> Functions:
    """Make the functions here; modules that came with an earlier package are forgotten first.

    For a process that runs tasks only: it changes ``sys.modules`` and ``sys.meta_path`` for good.

    Raises:
        JobSpecError: a module is missing here, or no longer has what is asked of it.
        UserCodeError: a shipped module raised while it was imported.
    """
    package = _decode(data)
    for finder in [f for f in sys.meta_path if isinstance(f, _ShippedFinder)]:
        sys.meta_path.remove(finder)
        _forget(finder)
    finder = _ShippedFinder(package.modules)
    _forget(finder)
    sys.meta_path.insert(0, finder)
    finder.show_lines()
    show_sources(data)
    SOURCE_NAMES.update(package.names)
    functions = _load(package)
    addresses.learn(functions.addresses)
    return functions


def show_sources(data: bytes) -> None:
    """Let tracebacks and debuggers of this process show the cells that functions came from."""
    package = _decode(data)
    for file, text in package.sources.items():
        if file not in linecache.cache:
            _remember_lines(file, text)
    for file, name in package.names.items():
        SOURCE_NAMES.setdefault(file, name)


@contextmanager
def isolated(data: bytes, load: Callable[[], None] | None = None) -> Iterator[Functions]:
    """The functions as a worker would have them, in this process, which is then as it was before.

    Not for two threads at once: modules are global.

    Args:
        data: as for ``unpack``.
        load: reads records; called where their pickles give the classes that the functions have.

    Raises: as ``unpack`` and ``load``.
    """
    package = _decode(data)
    finder = _ShippedFinder(package.modules)
    with _isolation:
        modules = _forget(finder)
        lines = {s.file: linecache.cache.get(s.file) for s in package.modules}
        names = dict(SOURCE_NAMES)
        sys.meta_path.insert(0, finder)
        finder.show_lines()
        SOURCE_NAMES.update(package.names)
        try:
            with _classes_apart():
                functions = _load(package)
                if load is not None:
                    load()
            yield functions
        finally:
            if finder in sys.meta_path:
                sys.meta_path.remove(finder)
            _forget(finder)
            sys.modules.update(modules)
            SOURCE_NAMES.clear()
            SOURCE_NAMES.update(names)
            for file, entry in lines.items():
                linecache.cache.pop(file, None)
                if entry is not None:
                    linecache.cache[file] = entry


_isolation = threading.RLock()


@contextmanager
def _classes_apart() -> Iterator[None]:
    """Keep cloudpickle from finding the notebook's own classes again, and writing into them.

    It tracks classes by id, so that unpickling where a class was pickled gives that very class and
    sets its methods anew: to copies that no longer see the notebook's variables.
    """
    from cloudpickle import cloudpickle

    tracked = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID
    before = dict(tracked)
    tracked.clear()
    try:
        yield
    finally:
        tracked.clear()
        tracked.update(before)


def _forget(finder: _ShippedFinder) -> dict[str, ModuleType]:
    """Drop the modules a finder owns from ``sys.modules``; gives them back."""
    dropped = (
        {name: m for name, m in sys.modules.items() if finder.owns(name)} if finder.tops else {}
    )
    for name in dropped:
        del sys.modules[name]
    return dropped


def _decode(data: bytes) -> _Package:
    package = msgspec.msgpack.decode(data, type=_Package)
    if package.python != sys.version_info[:2]:
        theirs = ".".join(map(str, package.python))
        ours = ".".join(map(str, sys.version_info[:2]))
        raise JobSpecError(
            f"the functions were packed by Python {theirs} and this is Python {ours}: use the same "
            "minor version everywhere"
        )
    return package


def _load(package: _Package) -> Functions:
    import pickle

    try:
        return Functions(*pickle.loads(package.functions))  # noqa: S301 - from whom we run code
    except JobSpecError:
        raise
    except ModuleNotFoundError as error:
        raise JobSpecError(
            f"the functions need the module {error.name}, which is not installed where they run: "
            f"install it there, or put {error.name}.py beside the notebook"
        ) from error
    except Exception as error:
        if frames_of(error):
            failure = user_failure(error, role="import of your module")
            raise UserCodeError(failure) from error
        raise JobSpecError(
            f"the functions cannot be made again from what was sent ({type(error).__name__}: "
            f"{error}): look for an object with its own __reduce__ or __setstate__"
        ) from error
