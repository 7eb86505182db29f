"""Every message: there and back, one union per direction, the rest refused by its path."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.data.splits import FileSplit, MemorySplit
from mrkernel.errors import RemoteProtocolError
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure, Frame
from mrkernel.job.spec import JobSpec
from mrkernel.protocol import client_messages, messages, store_messages, worker_messages
from mrkernel.protocol.client_messages import (
    Accepted,
    Agreed,
    Attach,
    CancelJob,
    DisturbWorker,
    Ended,
    FetchFunctions,
    FindStores,
    FromClient,
    Functions,
    JobPrinted,
    Look,
    Refused,
    ReleaseJob,
    RetireWorker,
    StorePlace,
    StorePlaces,
    Submit,
    ToClient,
    Unwatch,
    View,
    Watch,
    Welcome,
)
from mrkernel.protocol.framing import CONTROL, FrameDecoder
from mrkernel.protocol.messages import BlobPiece, Message, MessageDecoder, blob_pieces, frame_of
from mrkernel.protocol.store_messages import (
    ListLogs,
    LogFile,
    LogFiles,
    RangeReply,
    ReadRange,
    ReadShares,
    ShareReply,
)
from mrkernel.protocol.worker_messages import (
    Adopt,
    Alive,
    AttemptProgress,
    Beat,
    BeatsHeard,
    CancelAttempt,
    Disown,
    Disturb,
    Failed,
    FetchFailed,
    Finished,
    Forget,
    FromRunner,
    FromWorker,
    Gather,
    JobInfo,
    Offer,
    PartOutput,
    PartPlace,
    Printed,
    Register,
    Registered,
    Retire,
    RunOutput,
    RunSource,
    Start,
    ToRunner,
    ToWorker,
)

J, T, W = JobId("j1"), TaskId("map-0"), WorkerId("w1")
SPEC = JobSpec(name="n", functions="f" * 64, reduce_tasks=2, timeout_s=1.5, python="3.11")
FAILURE = Failure(
    kind="user",
    sentence="s",
    frames=(Frame("a.py", 3, "mapper", "x"),),
    hint="h",
    role="mapper",
    index=4,
    evidence=b"pickled",
)
BAD = BadRecord(task="map-0", index=4, file="/a", offset=9, record="'x'", error="ValueError: x")
FINISHED = Finished(
    *(J, T, 1, 2, 3, 4, 0.5, RunOutput((1, 0)), PartOutput("n", 1, 1), {"c": 1}),
    bad=(BAD,),
    peak_memory=5,
)

SAMPLES: dict[type[Message], Message] = {
    type(message): message
    for message in (
        Register(
            *("host", "id", 1, 2, "3.11", "127.0.0.1", 3, "/d"),
            instance="i",
            previous=W,
            cluster="c",
            adopted=("/e",),
        ),
        Alive(),
        Beat(1.5, 2, (AttemptProgress(J, T, 1, 2, 3),)),
        FINISHED,
        Offer((FINISHED,)),
        Failed(J, T, 1, FAILURE),
        FetchFailed(J, T, 1, 2, 3, W, "why", "disk"),
        Printed(J, T, 1, "text", 5),
        Registered(W, 0.5, "c", True, number=7, beat_port=9, dead_s=2.0, lease_s=30.0),
        BeatsHeard(False),
        Adopt("/e", (J,), (J,)),
        Disown("/e", True),
        Disturb("freeze", 2.5),
        JobInfo(J, SPEC, b"functions"),
        Start(
            *(J, T, 1, 0, FileSplit("/a", 0, 1, 2, 3)),
            sources=(RunSource(W, "h", "/", "::1", 1, ((0, 1),), JobId("j0")),),
            careful=True,
            skip=(3, 5),
        ),
        CancelAttempt(J, T, 1),
        Forget(J, ("b",), True),
        Retire("why"),
        BlobPiece("d", b"data", False, 4),
        Submit(
            *(1, SPEC, (MemorySplit("x", 0, 1, b"p", size=1), FileSplit("/a", 0, 1, 2, 3))),
            key="k",
            extends=JobId("j0"),
        ),
        FetchFunctions(1, J),
        FindStores(1, J),
        DisturbWorker(1, W, "slow", 4.0),
        RetireWorker(1, W),
        Welcome("c", 2),
        Agreed(1),
        Functions(1, b"functions"),
        StorePlaces(1, (StorePlace(W, "h1", "/w1", "127.0.0.1", 5001),)),
        CancelJob(J, "why"),
        ReleaseJob(J, True),
        Attach(1, J),
        Watch("cluster"),
        Unwatch("cluster"),
        Look(1, "cluster"),
        Accepted(1, J),
        Refused(1, "why"),
        Ended(
            *(J, "n", "failed", "s", 1.0, FAILURE),
            parts=(PartPlace(0, "n", 1, 1, b"", W, "h", "/", "", 0),),
            bad=(BAD,),
        ),
        JobPrinted(J, T, W, "text", 1),
        View({"topic": "cluster", "delta": {"seq": 1}}, 1),
        ReadRange("j1/a.run", -20, -1),
        RangeReply(0, "why"),
        ReadShares(("j1/map-0.1.run", "j1/map-1.1.run"), 3, "zstd"),
        ShareReply(5, b"index", "lz4", "why"),
        ListLogs(J, "/w1"),
        LogFiles((LogFile("j1/map-0.1.log", "map-0", 1, 5),)),
        Gather(J, (0, 2), (RunSource(W, "h", "/", "::1", 1, ((0, 1),)),)),
    )
}

DIRECTIONS: dict[str, Any] = {
    "from worker": FromWorker,
    "to worker": ToWorker,
    "from client": FromClient,
    "to client": ToClient,
    "from runner": FromRunner,
    "to runner": ToRunner,
}


def there_and_back(union: Any, *sent: Message) -> list[Any]:
    decoder = FrameDecoder()
    decoder.open()
    ((kind, payload),) = decoder.feed(frame_of(*sent))
    assert kind == CONTROL
    return MessageDecoder(union).decode(payload)


def test_there_is_a_sample_of_every_message() -> None:
    files = (messages, client_messages, store_messages, worker_messages)
    named = [thing for file in files for thing in vars(file).values()]
    known = {thing for thing in named if isinstance(thing, type) and issubclass(thing, Message)}
    assert known - {Message} == set(SAMPLES)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_each_direction_takes_its_messages_and_no_other(direction: str) -> None:
    union = DIRECTIONS[direction]
    for kind, message in SAMPLES.items():
        if kind in get_args(union):
            assert there_and_back(union, message, message) == [message, message]
        else:
            with pytest.raises(RemoteProtocolError, match=r"Invalid value|Invalid tag|unknown"):
                there_and_back(union, message)


def test_a_wrong_type_is_told_with_its_path() -> None:
    wrong = [{"type": "submit", "ticket": 1, "spec": {"name": 5}, "splits": []}]
    with pytest.raises(
        RemoteProtocolError, match=r"Expected `str`, got `int` - at `\$\[0\]\.spec\.name`"
    ):
        MessageDecoder(FromClient).decode(msgspec.msgpack.encode(wrong))


def test_a_missing_field_is_told_by_its_name() -> None:
    wrong = [{"type": "watch"}]
    with pytest.raises(RemoteProtocolError, match="missing required field `topic`"):
        MessageDecoder(FromClient).decode(msgspec.msgpack.encode(wrong))


@pytest.mark.parametrize("wrong", [[{"type": "shutdown"}], [{}], {"type": "watch"}, [1], 1])
def test_what_is_no_message_is_refused(wrong: object) -> None:
    with pytest.raises(RemoteProtocolError, match="a malformed message"):
        MessageDecoder(FromClient).decode(msgspec.msgpack.encode(wrong))


def test_a_worker_has_at_least_one_slot() -> None:
    sample = msgspec.to_builtins(SAMPLES[Register])
    for slots in (0, -3):
        payload = msgspec.msgpack.encode([{**sample, "slots": slots}])
        with pytest.raises(RemoteProtocolError, match=r"Expected `int` >= 1 - at `\$\[0\]\.slots`"):
            MessageDecoder(FromWorker).decode(payload)


def test_a_field_from_the_future_is_passed_over() -> None:
    payload = msgspec.msgpack.encode([{"type": "watch", "topic": "cluster", "since": 7}])
    assert MessageDecoder(FromClient).decode(payload) == [Watch("cluster")]


@given(st.binary(max_size=200))
def test_garbage_is_refused_in_words(garbage: bytes) -> None:
    for union in DIRECTIONS.values():
        try:
            assert MessageDecoder(union).decode(garbage) == []
        except RemoteProtocolError as error:
            assert str(error).startswith("a malformed message")


@pytest.mark.parametrize(
    "payload",
    [
        b"\x91\x82\xa4type\xa5watch\xa1x" + b"\x91" * 100_000,
        b"\x91\x82\xa4type\xa5watch\xa5topic\xa2\xff\xff",
        b"\x91\x82\xa4type\xa4view\xa7payload\x81\xa1a" + b"\x91" * 100_000,
    ],
)
def test_bytes_that_break_decoders_are_only_malformed(payload: bytes) -> None:
    for union in (FromClient, ToClient):
        with pytest.raises(RemoteProtocolError, match="a malformed message"):
            MessageDecoder(union).decode(payload)


@given(st.binary(max_size=50), st.integers(1, 20))
def test_a_blob_comes_in_pieces_that_add_up(data: bytes, piece: int) -> None:
    pieces = blob_pieces("d", data, piece)
    assert b"".join(p.data for p in pieces) == data
    assert [p.offset for p in pieces] == list(range(0, max(len(data), 1), piece))
    assert [p.last for p in pieces] == [False] * (len(pieces) - 1) + [True]
    assert all(len(p.data) <= piece for p in pieces)


def test_what_is_longer_than_a_frame_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a job with ten thousand small parts is one message."""
    place = PartPlace(0, "", 7000, 1, b"x" * 7000, W, "h", "/", "", 0)
    ended = Ended(J, "n", "done", "", 1.0, parts=(place,) * 10_000)
    frame = frame_of(ended)
    assert len(frame) > 64 << 20
    decoder = FrameDecoder()
    decoder.open()
    ((_, payload),) = decoder.feed(frame)
    (got,) = MessageDecoder(ToClient).decode(payload)
    assert got == ended
