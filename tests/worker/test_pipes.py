"""Programs that do with their three pipes whatever they like: none of them may hang us."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator

import pytest

from mrkernel.worker.pipes import PIECE, PIPE_BYTES, Conversation, Data

#: More than all pipes hold, so that whoever waits for the wrong one waits for ever.
MUCH = b"0123456789abcde\n" * (PIPE_BYTES // 4)


class Talk:
    """One conversation with a shell line."""

    def __init__(self, line: str, source: Iterable[Data] = (), linger_s: float = 30.0) -> None:
        self.pieces: list[bytes] = []
        self.heard = b""
        process = subprocess.Popen(
            ["/bin/sh", "-c", line],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.stirs = 0
        self.talk = Conversation(
            process, iter(source), self.take, self.hear, stir=self.stir, linger_s=linger_s
        )
        self.status = self.talk.hold()

    def take(self, lines: bytearray) -> None:
        assert lines.endswith(b"\n")
        self.pieces.append(bytes(lines))

    def hear(self, data: bytes) -> None:
        self.heard += data

    def stir(self) -> None:
        self.stirs += 1

    @property
    def output(self) -> bytes:
        return b"".join(self.pieces)


pytestmark = pytest.mark.timeout(60)


def test_what_goes_in_comes_out_in_pieces_of_whole_lines() -> None:
    talk = Talk("cat", [MUCH, b"", MUCH[:16]])
    assert talk.output == MUCH + MUCH[:16]
    assert len(talk.pieces) > 2
    assert max(map(len, talk.pieces)) < PIECE + PIPE_BYTES
    assert (talk.status, talk.talk.written) == (0, len(MUCH) + 16)


def test_a_program_may_write_much_before_it_reads_anything() -> None:
    talk = Talk(f"yes 0123456789abcde | head -c {len(MUCH)}; cat", [MUCH])
    assert talk.output == MUCH + MUCH


def test_a_program_need_not_read_to_the_end_of_its_input() -> None:
    asked = []

    def endless() -> Iterator[Data]:
        while True:
            asked.append(1)
            yield MUCH

    talk = Talk("head -n 2", endless())
    assert (talk.status, talk.output) == (0, MUCH[:32])
    assert len(asked) < 10


def test_a_program_may_close_its_input_and_write_on() -> None:
    talk = Talk(f"exec <&-; yes 0123456789abcde | head -c {len(MUCH)}", [MUCH, MUCH])
    assert talk.output == MUCH


def test_a_program_may_close_its_output_and_read_on() -> None:
    talk = Talk("exec >&-; wc -c >&2", [MUCH, MUCH])
    assert (talk.status, talk.output) == (0, b"")
    assert int(talk.heard) == 2 * len(MUCH)


def test_much_on_standard_error_is_read_meanwhile() -> None:
    talk = Talk(f"yes | head -c {len(MUCH)} >&2; cat", [MUCH])
    assert len(talk.heard) == len(MUCH)
    assert talk.output == MUCH


@pytest.mark.parametrize("line", ["cat >/dev/null", "echo x", "echo reporter:status:x >&2"])
def test_reading_writing_and_saying_something_are_signs_of_life(line: str) -> None:
    assert Talk(f"exec <&-; {line}" if "echo" in line else line, [MUCH[:16]]).stirs
    assert not Talk("exec <&- >&- 2>&-").stirs


def test_a_last_line_without_its_end_is_given_one() -> None:
    assert Talk("printf 'a\\nb'").output == b"a\nb\n"
    assert Talk("true").pieces == []


def test_a_line_longer_than_any_pipe_comes_whole() -> None:
    long = b"x" * (3 * PIPE_BYTES)
    assert Talk("cat", [long, b"\nshort\n"]).output == long + b"\nshort\n"


def test_exit_status_and_signal_are_told() -> None:
    assert Talk("exit 3").status == 3
    assert Talk("kill -9 $$").status == -9


def test_output_of_a_process_in_the_background_is_waited_for() -> None:
    talk = Talk("exec 3<&0; (read line <&3; echo got $line) & exit 0", [b"one\n"])
    assert (talk.output, talk.talk.left_behind) == (b"got one\n", False)


def test_a_process_that_holds_the_output_for_ever_is_not_waited_for() -> None:
    talk = Talk("sleep 300 & echo $! ; exit 0", linger_s=0.3)
    assert talk.talk.left_behind
    assert talk.status == 0
    subprocess.run(["kill", talk.output.decode().strip()], check=True)


def test_what_takes_the_output_may_fail() -> None:
    process = subprocess.Popen(
        ["cat"], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    def refuse(lines: bytearray) -> None:
        raise ValueError("no more")

    talk = Conversation(process, iter([MUCH] * 4), refuse, lambda data: None)
    with pytest.raises(ValueError, match="no more"):
        talk.hold()
    process.kill()
    talk.close()
    assert process.wait() == -9
