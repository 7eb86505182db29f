"""What a slot prints: attempt by attempt, capped, no character cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mrkernel.ids import JobId, TaskId
from mrkernel.protocol.worker_messages import Printed, Start
from mrkernel.worker.slot_output import END, PRINT_LIMIT, SlotOutput


def start(number: int) -> Start:
    return Start(JobId("j1"), TaskId(f"map-{number}"), 1, number)


def test_output_belongs_to_the_attempt_that_runs() -> None:
    output = SlotOutput()
    output.expect(start(0))
    output.expect(start(1))
    output.add(b"zero\n")
    assert output.take() == Printed(JobId("j1"), TaskId("map-0"), 1, "zero\n")
    assert output.take() is None
    output.ended()
    output.add(b"one\n")
    assert output.take() == Printed(JobId("j1"), TaskId("map-1"), 1, "one\n")


def test_what_the_next_attempt_printed_already_is_its_own() -> None:
    """Three short attempts ran before the end of the first was heard of."""
    output = SlotOutput()
    for number in range(4):
        output.expect(start(number))
    output.add(b"zero" + END + b"one" + END)
    output.add(b"two\n")
    output.add(b"more of two" + END)
    for number, text in enumerate(["zero", "one", "two\nmore of two"]):
        assert output.take() == Printed(JobId("j1"), TaskId(f"map-{number}"), 1, text)
        assert output.take() is None
        assert output.ended() == (number < 2)
    output.add(b"three")
    assert output.take() == Printed(JobId("j1"), TaskId("map-3"), 1, "three")


def test_output_before_any_attempt_waits_for_one() -> None:
    output = SlotOutput()
    output.add(b"early\n")
    assert output.take() is None
    output.expect(start(0))
    printed = output.take()
    assert printed is not None
    assert printed.text == "early\n"


def test_the_cap_is_per_attempt() -> None:
    output = SlotOutput()
    output.expect(start(0))
    output.expect(start(1))
    for _ in range(3):
        output.add(b"x" * (PRINT_LIMIT // 2))
    first = output.take()
    assert first is not None
    assert (len(first.text), first.dropped) == (PRINT_LIMIT, PRINT_LIMIT // 2)
    output.add(b"more")
    more = output.take()
    assert more is not None
    assert (more.text, more.dropped) == ("", 4)
    output.ended()
    output.add(b"fresh")
    fresh = output.take()
    assert fresh is not None
    assert (fresh.text, fresh.dropped) == ("fresh", 0)


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.lists(st.integers(0, 300)))
def test_text_cut_anywhere_comes_whole(text: str, cuts: list[int]) -> None:
    output = SlotOutput()
    output.expect(start(0))
    data = text.encode()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    came = ""
    for begin, end in itertools.pairwise(edges):
        output.add(data[begin:end])
        printed = output.take()
        came += printed.text if printed else ""
    assert came == text


def test_what_is_no_text_is_shown_as_such() -> None:
    output = SlotOutput()
    output.expect(start(0))
    output.add(b"a\xffb")
    printed = output.take()
    assert printed is not None
    assert printed.text == "a\N{REPLACEMENT CHARACTER}b"


def test_half_a_character_does_not_reach_the_next_attempt() -> None:
    output = SlotOutput()
    output.expect(start(0))
    output.expect(start(1))
    output.add("ż".encode()[:1])
    assert output.take() is None
    output.ended()
    output.add(b"clean")
    printed = output.take()
    assert printed is not None
    assert printed.text == "clean"
