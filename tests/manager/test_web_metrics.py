"""The metrics, parsed line by line as Prometheus does."""

from __future__ import annotations

import re
from pathlib import Path

from house import DIGEST, FUNCTIONS, submission
from prometheus_client.parser import text_string_to_metric_families
from web_house import WebHouse, run

from mrkernel.ids import JobId, WorkerId, map_task, reduce_task
from mrkernel.manager.state_directory import StateDirectory
from mrkernel.manager.totals import Totals
from mrkernel.manager.web_metrics import Vitals, metrics_text
from mrkernel.monitor import events as ev
from mrkernel.monitor.broker import Broker
from mrkernel.protocol.client_messages import Accepted, Ended
from mrkernel.protocol.messages import BlobPiece
from mrkernel.protocol.worker_messages import Beat, Finished, PartOutput, Start

_NAME = r"[a-z_][a-z0-9_]*"
_LABEL = rf'{_NAME}="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)")

Samples = dict[tuple[str, str], float]  #: (name, labels) → value


def parsed(text: str) -> Samples:
    """Read the text format: each family has help and type, in one piece, and is told once."""
    assert text.endswith("\n")
    families: dict[str, str] = {}
    samples: Samples = {}
    family = helped = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, helped, words = line.split(" ", 3)
            assert helped not in families
            assert words[0].isupper() and words.endswith(".")
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family == helped
            assert kind in ("gauge", "counter")
            assert family.endswith("_total") == (kind == "counter")
            families[family] = kind
        else:
            found = _SAMPLE.fullmatch(line)
            assert found, line
            name, labels, value = found.groups()
            assert name == family, line
            assert (name, labels or "") not in samples, line
            samples[name, labels or ""] = float(value)
    return samples


def check_with_prometheus(text: str, samples: Samples) -> None:
    """Prometheus' own reader finds the same; the names are as its lint (promtool) wants them."""
    theirs: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.type in ("gauge", "counter")
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            theirs[sample.name, labels] = sample.value
            assert not sample.name.endswith(("_count", "_sum", "_bucket", "_gauge", "_counter"))
            assert not re.search("_(ms|milli|kilo|mega|minutes|kb|mb|s)(_|$)", sample.name)
            assert not set(sample.labels) & {"job", "instance"}  # those are the server's own
    assert theirs == samples


VITALS = Vitals(1.5, 50 << 20, 100 << 20, 12, 1.7e9)
J1, W1 = JobId("j1"), WorkerId("w1")


def text_of(*events: ev.Event) -> str:
    """The metrics after these events."""
    broker, totals = Broker(), Totals()
    for event in events:
        totals.note(event)
        broker.publish(event)
    return metrics_text(broker, totals, VITALS, 3)


def finished(task: str, size: int, records: int = 10) -> ev.AttemptFinished:
    return ev.AttemptFinished(
        *(), at=3.0, job=J1, task=task, attempt=1, worker=W1, records=records, pairs=1,  # type: ignore[arg-type]
        bytes_in=size, bytes_out=1, seconds=0.1,
    )  # fmt: skip


JOINED = ev.WorkerJoined(at=0.0, worker=W1, host="h", pid=1, slots=2)
ACCEPTED = ev.JobAccepted(
    at=1.0, job=J1, name="n", maps=4, reduces=2, input_bytes=400, functions="f"
)


def started(task: str) -> ev.AttemptStarted:
    return ev.AttemptStarted(at=2.0, job=J1, task=task, attempt=1, worker=W1, input="i")  # type: ignore[arg-type]


def test_of_a_manager_that_has_done_nothing() -> None:
    samples = parsed(text_of())
    assert samples["mrkernel_jobs", 'state="running"'] == 0
    assert samples["mrkernel_slots", ""] == 0
    assert samples["process_resident_memory_bytes", ""] == 50 << 20
    assert samples["process_cpu_seconds_total", ""] == 1.5
    assert samples["mrkernel_web_followers", ""] == 3


def test_of_a_running_job() -> None:
    beat = ev.WorkerBeat(at=2.5, worker=W1, cpu_percent=150.0, memory_bytes=7)
    failed = ev.AttemptFailed(
        at=3.0, job=J1, task=map_task(2), attempt=1, worker=W1, sentence="it raised"
    )
    samples = parsed(
        text_of(
            *(JOINED, ACCEPTED, started(map_task(0)), started(map_task(1)), started(map_task(2))),
            *(finished(map_task(0), 100), failed, beat, finished(reduce_task(1), 9)),
            ev.Noted(at=3.0, job=None, level="warning", sentence="look"),
        )
    )
    assert samples["mrkernel_jobs", 'state="running"'] == 1
    tasks = {labels: value for (name, labels), value in samples.items() if name == "mrkernel_tasks"}
    assert tasks['phase="map",state="done"'] == 1
    assert tasks['phase="map",state="running"'] == 1
    assert tasks['phase="map",state="waiting"'] == 2
    assert tasks['phase="map",state="again"'] == 1
    assert tasks['phase="reduce",state="waiting"'] == 1
    assert samples["mrkernel_workers", 'state="alive"'] == 1
    assert (samples["mrkernel_slots", ""], samples["mrkernel_slots_busy", ""]) == (2, 1)
    assert samples["mrkernel_attempts_started_total", ""] == 3
    assert samples["mrkernel_attempts_finished_total", ""] == 2
    assert samples["mrkernel_attempts_failed_total", ""] == 1
    assert samples["mrkernel_read_bytes_total", ""] == 100
    assert samples["mrkernel_worker_cpu_cores", 'worker="w1"'] == 1.5
    assert samples["mrkernel_worker_memory_bytes", 'worker="w1"'] == 7
    assert samples["mrkernel_worker_shuffled_bytes_total", 'worker="w1"'] == 9
    assert samples["mrkernel_worker_reports_total", ""] == 1
    assert samples["mrkernel_notes_total", 'level="warning"'] == 1


def test_of_an_ended_job_and_a_lost_worker() -> None:
    samples = parsed(
        text_of(
            *(JOINED, ACCEPTED, started(reduce_task(0)), finished(reduce_task(0), 70)),
            ev.AttemptLost(
                at=3.0, job=J1, task=reduce_task(1), attempt=1, worker=W1, cause="w1 died"
            ),
            ev.JobEnded(at=4.0, job=J1, outcome="failed", sentence="no"),
            ev.WorkerLost(at=5.0, worker=W1, cause="was killed (SIGKILL)"),
        )
    )
    assert samples["mrkernel_shuffled_bytes_total", ""] == 70
    assert samples["mrkernel_jobs", 'state="failed"'] == 1
    assert samples["mrkernel_jobs_ended_total", 'outcome="failed"'] == 1
    assert samples["mrkernel_attempts_lost_total", ""] == 1
    assert samples["mrkernel_workers", 'state="dead"'] == 1
    assert samples["mrkernel_workers_lost_total", ""] == 1
    assert samples["mrkernel_tasks", 'phase="reduce",state="waiting"'] == 0
    assert not [key for key in samples if key[1].startswith("worker=")]


def test_a_label_may_have_any_text() -> None:
    text = text_of(ev.WorkerJoined(at=0.0, worker=WorkerId('w"1\\\n'), host="h", pid=1, slots=1))
    assert ("mrkernel_worker_tasks", r'worker="w\"1\\\n"') in parsed(text)


def test_as_it_is_served() -> None:
    async def test(web: WebHouse) -> None:
        client, worker = await web.house.peer("client"), await web.house.worker()
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission())
        assert isinstance(await client.hear(), Accepted)
        worker.say(Beat(10.0, 1000))
        start = await worker.hear_until(Start)
        part = PartOutput("", 1, 1, b"x")
        worker.say(Finished(start.job, start.task, start.attempt, 5, 1, 77, 0.1, part=part))
        await client.hear_until(Ended)
        answer = await web.fetch("/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        samples = parsed(answer.body.decode())
        check_with_prometheus(answer.body.decode(), samples)
        assert samples["mrkernel_jobs", 'state="done"'] == 1
        assert samples["mrkernel_read_bytes_total", ""] == 77
        assert samples["mrkernel_records_total", ""] == 5
        assert samples["mrkernel_worker_memory_bytes", 'worker="w1"'] == 1000
        assert samples["process_resident_memory_bytes", ""] > 1e6
        assert samples["process_cpu_seconds_total", ""] > 0

    run(test)


def test_each_metric_is_in_the_docs() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "web.md").read_text()
    names = {name for name, _ in parsed(text_of(JOINED)) if name.startswith("mrkernel_")}
    assert len(names) > 20
    for name in names:
        assert f"`{name}" in docs


def test_what_a_journal_tells_was_counted_by_the_manager_before(tmp_path: Path) -> None:
    path = tmp_path / "state"

    async def first(web: WebHouse) -> None:
        client = await web.house.peer("client")
        client.say(BlobPiece(DIGEST, FUNCTIONS), submission())
        assert isinstance(await client.hear(), Accepted)

    async def second(web: WebHouse) -> None:
        samples = parsed((await web.fetch("/metrics")).body.decode())
        assert samples["mrkernel_jobs", 'state="running"'] == 1
        assert samples["mrkernel_notes_total", 'level="info"'] == 0
        assert not web.house.server.totals.events

    for test in (first, second):
        with StateDirectory.open(path) as directory:
            run(test, directory=directory)
