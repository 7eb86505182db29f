"""The progress cell: two mappings of one page, one writes, the other reads whatever happens."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.worker.progress import _PLACE_AT, _SEQUENCE, PLACE_LIMIT, ProgressCell, make_cell


@pytest.fixture(name="cells")
def two_cells() -> tuple[ProgressCell, ProgressCell]:
    descriptor = make_cell()
    return ProgressCell(os.dup(descriptor)), ProgressCell(descriptor)


def test_a_place_is_read_by_the_other_side(cells: tuple[ProgressCell, ProgressCell]) -> None:
    writer, reader = cells
    assert (reader.place(), reader.index()) == ("", None)
    writer.begin()
    writer.at("grüße.txt, byte 12", 0)
    assert (reader.place(), reader.index()) == ("grüße.txt, byte 12", 0)
    writer.add(5, 50)
    writer.stir()
    assert reader.read() == (1, 5, 50, 1)
    writer.at("x")
    assert (reader.place(), reader.index()) == ("x", None)
    writer.begin()
    assert (reader.place(), reader.index(), reader.read()) == ("", None, (2, 0, 0, 1))


@given(st.text(max_size=2 * PLACE_LIMIT), st.none() | st.integers(0, 1 << 40))
def test_any_text_comes_back_or_its_beginning(text: str, index: int | None) -> None:
    cell = ProgressCell()
    cell.at(text, index)
    whole = text.encode("utf-8", "backslashreplace").decode()
    assert whole.startswith(cell.place())
    assert len(cell.place().encode()) > PLACE_LIMIT - 4 or cell.place() == whole
    assert cell.index() == index


def test_a_place_that_was_never_finished_is_not_believed(
    cells: tuple[ProgressCell, ProgressCell],
) -> None:
    """Its writer was killed half-way."""
    writer, reader = cells
    writer.at("before", 3)
    _SEQUENCE.pack_into(writer._memory, _PLACE_AT, 5)
    assert (reader.place(), reader.index()) == ("", None)


def test_rubbish_is_read_without_an_error(cells: tuple[ProgressCell, ProgressCell]) -> None:
    """User code can write anywhere in its process."""
    writer, reader = cells
    writer._memory[:] = b"\xfe" * len(writer._memory)
    assert len(reader.place()) <= PLACE_LIMIT
    assert isinstance(reader.index(), int)


def test_no_reader_sees_two_places_mixed(cells: tuple[ProgressCell, ProgressCell]) -> None:
    writer, reader = cells
    written = {letter * 2000: n for n, letter in enumerate("abcdefgh")}
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for text, index in written.items():
                writer.at(text, index)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = {reader._read_place() for _ in range(3000)}
    finally:
        stop.set()
        thread.join()
    assert seen <= {*written.items(), ("", None)}
