"""A picture in a terminal: drawn in place, nothing torn, nothing left."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator

import pytest
from example import word_count
from glass import Terminal
from hypothesis import given, settings
from hypothesis import strategies as st

from mrkernel.monitor.screen import Screen, is_live
from mrkernel.monitor.terminal import job_line, job_renderable

Open = Callable[..., Terminal]


@pytest.fixture(autouse=True)
def a_terminal_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def terminal() -> Iterator[Open]:
    with contextlib.ExitStack() as closing:

        def open_(*size: int, **options: str) -> Terminal:
            made = Terminal(*size, **options)
            closing.callback(made.close)
            return made

        yield open_


def test_what_changed_is_written_and_nothing_else(terminal: Open) -> None:
    seen = terminal(40, 10)
    screen = Screen(seen.file)
    screen.show("one\ntwo\nthree")
    assert seen.look() == "one\ntwo\nthree"
    seen.raw = ""
    screen.show("one\n2\nthree")
    assert seen.look() == "one\n2\nthree"
    assert "one" not in seen.raw and "three" not in seen.raw
    seen.raw = ""
    screen.show("one\n2\nthree")
    seen.look()
    assert seen.raw == ""


def test_a_picture_folds_and_what_follows_stands_below_it(terminal: Open) -> None:
    seen = terminal(40, 10)
    seen.file.write("$ mrkernel\n")
    with Screen(seen.file) as screen:
        screen.show("\n".join(f"line {n}" for n in range(6)))
        screen.show("done")
    seen.file.write("result\n")
    seen.file.flush()
    assert seen.look() == "$ mrkernel\ndone\nresult"


def test_a_picture_too_tall_is_cut_and_never_scrolls(terminal: Open) -> None:
    seen = terminal(40, 10)
    screen = Screen(seen.file)
    for number in range(5):
        screen.show("\n".join(f"line {n} of {number}" for n in range(50)))
    seen.look()
    assert seen.glass.scrolled == []
    assert len(seen.glass.rows) == 10
    assert screen.height == 9


def test_prints_stand_above_whole_and_without_codes(
    terminal: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = terminal(40, 10)
    piped = io.StringIO()
    monkeypatch.setattr(sys, "stderr", seen.file)
    monkeypatch.setattr(sys, "stdout", piped)
    with Screen(seen.file) as screen:
        screen.show("picture\nof two lines")
        print("into a file")  # no terminal: not ours
        sys.stderr.write("a\x1b[2Jb\rc\nno end")
        assert seen.look() == "picture\nof two lines"
        screen.show("picture\nof two lines")
        assert seen.look() == "ab\nc\npicture\nof two lines"
        sys.stderr.write(" yet\n")
        screen.show("picture")
        assert seen.look() == "ab\nc\nno end yet\npicture"
        sys.stderr.write("last")
    assert seen.look() == "ab\nc\nno end yet\npicture\nlast"
    assert sys.stderr is seen.file
    assert piped.getvalue() == "into a file\n"


def test_a_thousand_prints_are_one_frame(terminal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = terminal(40, 10)
    monkeypatch.setattr(sys, "stderr", seen.file)
    with Screen(seen.file) as screen:
        screen.show("picture")
        for number in range(200):
            sys.stderr.write(f"{number}\n")
        screen.show("picture")
        seen.look()
        assert seen.raw.count("\x1b[?2026h") == 2
    assert seen.glass.everything.splitlines() == [*map(str, range(200)), "picture"]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(20, 130), st.integers(8, 45)), min_size=1, max_size=4))
def test_whatever_size_it_becomes_nothing_is_torn(sizes: list[tuple[int, int]]) -> None:
    """What stands there is the newest picture alone, as far as no line of it had scrolled away."""
    picture = word_count(until=12.0).snapshot()
    seen = Terminal(100, 60)
    try:
        seen.file.write("$ before\n")
        screen = Screen(seen.file)
        for width, height in [(100, 60), *sizes]:
            seen.resize(width, height)
            screen.show(job_renderable(picture, height=screen.height))
            lines = seen.look().splitlines()
            heads = [n for n, line in enumerate(lines) if line.startswith("word-count")]
            assert len(heads) == 1
            assert lines[: heads[0]] in ([], ["$ before"])
        screen.show(job_line(picture))
        assert " ".join(seen.look().split()).removeprefix("$ before ") == (
            "word-count ▶ running 12.0 s · 1 worker lost, 1 attempt failed, 3 tasks moved, "
            "3 tasks redone"
        )
    finally:
        seen.close()


def test_a_terminal_without_our_signs_gets_its_own(terminal: Open) -> None:
    picture = word_count().snapshot()
    seen = terminal(100, 60, encoding="ascii")
    Screen(seen.file).show(job_renderable(picture, height=59))
    text = seen.look()
    assert "###" in text
    assert "/x" in text
    assert "# map  % reduce" in text
    assert "?" not in text
    seen = terminal(100, 60)
    Screen(seen.file).show(job_renderable(picture, height=59))
    assert "███" in seen.look()


def test_where_pictures_can_be_drawn(terminal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = terminal()
    assert is_live(seen.file)
    assert not is_live(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not is_live(seen.file)
