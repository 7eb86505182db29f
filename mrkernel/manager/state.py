"""ManagerState: events in, instructions out. Pure: no clock, no socket, no await, no chance.

Rules of this file: everything that decides what a manager does lives here or in ``policy``; a
message is believed only of the peer it came from; an answer about an attempt that is not running
on that worker any more is dropped in silence, because its fate was decided already (fencing); a
noun's state changes through ``transitions.advance`` only.

Theory of operation. A job's map tasks are handed to workers as slots (and a little prefetch) allow;
when all are DONE its reduce tasks become ready; when those are, the job is. A lost worker takes
back its running attempts and its finished outputs: what is still needed runs again elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.failure import Failure
from mrkernel.job.plan import plan_tasks
from mrkernel.job.spec import JobSpec
from mrkernel.manager.events import (
    BlobStored,
    Event,
    PeerId,
    PeerJoined,
    PeerLost,
    Received,
    Tick,
)
from mrkernel.manager.instructions import (
    Close,
    DropBlob,
    Instruction,
    Publish,
    Send,
    SendBlob,
    SendView,
    StopView,
)
from mrkernel.manager.invariants import check_invariants
from mrkernel.manager.policy import choose_worker, prefetch, smooth
from mrkernel.manager.records import Job, Task, Worker
from mrkernel.manager.transitions import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    WORKER_TRANSITIONS,
    JobState,
    JobTrigger,
    TaskState,
    TaskTrigger,
    WorkerLiveness,
    WorkerTrigger,
    advance,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.messages import (
    Accepted,
    Attach,
    Beat,
    CancelAttempt,
    CancelJob,
    Ended,
    Failed,
    FetchFailed,
    Finished,
    Forget,
    JobInfo,
    JobPrinted,
    Look,
    Message,
    PartPlace,
    Printed,
    Refused,
    Register,
    Registered,
    ReleaseJob,
    Retire,
    RunSource,
    Start,
    Submit,
    Unwatch,
    Watch,
)

#: Ended jobs whose result nobody waits for are forgotten, oldest first, beyond this many.
ENDED_JOBS_KEPT = 100
#: A map task whose output could not be read so often fails the job: what keeps a reduce task from
#: its input is not going away, and running the map task for ever would hide it.
REPEATS = 10
#: Characters of a job's output kept for those who attach later and for ``mrkernel logs``.
PRINTED_KEPT = 1 << 20
#: Seconds a job waits without any worker before it says so.
LONELY_S = 2.0
#: A gap between two ticks longer than this is our own pause (a laptop's sleep, SIGSTOP), and says
#: nothing about the workers: all their deadlines move by it.
STALL_S = 1.0


class ManagerState:
    """All a manager knows.

    Args:
        python: minor version whose closures this cluster runs, "3.11".
        beat_s: seconds between the beats asked of workers.
        suspect_after_s: silence after which a worker gets no new work.
        dead_after_s: silence after which it is given up.
    """

    def __init__(
        self,
        *,
        python: str,
        beat_s: float = 0.5,
        suspect_after_s: float = 1.5,
        dead_after_s: float = 5.0,
    ) -> None:
        self.python = python
        self.beat_s = beat_s
        self.suspect_after_s = suspect_after_s
        self.dead_after_s = dead_after_s
        self.workers: dict[WorkerId, Worker] = {}  #: those not dead
        self.jobs: dict[JobId, Job] = {}  #: until they are forgotten, in order of arrival
        self.blobs: set[str] = set()  #: digests the shell holds
        self._offered: dict[PeerId, Counter[str]] = {}  #: blobs sent for jobs still to come
        self._by_peer: dict[PeerId, Worker] = {}
        self._workers_seen = 0
        self._jobs_seen = 0
        self._last_tick: float | None = None
        self._out: list[Instruction] = []

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take one event; return what to do, in order.

        Args:
            now: seconds on a monotonic clock; never before that of an earlier call.
        """
        match event:
            case Received(peer, message):
                self._received(peer, message, now)
            case PeerLost(peer, cause):
                self._peer_lost(peer, cause, now)
            case BlobStored(peer, digest):
                self.blobs.add(digest)
                self._offered.setdefault(peer, Counter())[digest] += 1
            case Tick():
                self._tick(now)
            case PeerJoined():
                pass  # a worker counts once it has registered; a client needs no record
        self._schedule(now)
        out, self._out = self._out, []
        return out

    def validate(self) -> None:
        """Check every invariant; tests call it after each event.

        Raises:
            AssertionError: one does not hold.
        """
        check_invariants(self.workers, self.jobs, self.blobs)

    # --- messages ---------------------------------------------------------------------------------

    def _received(self, peer: PeerId, message: Message, now: float) -> None:
        worker = self._by_peer.get(peer)
        if worker is not None:
            self._worker_spoke(worker, now)
        match message:
            case Finished() if worker:
                self._finished(worker, message, now)
            case Beat() if worker:
                self._beat(worker, message, now)
            case Failed() if worker:
                self._failed(worker, message, now)
            case FetchFailed() if worker:
                self._fetch_failed(worker, message, now)
            case Printed() if worker:
                self._printed(worker, message, now)
            case Register() if not worker:
                self._register(peer, message, now)
            case Submit():
                self._submit(peer, message, now)
            case CancelJob(job_id, reason):
                job = self.jobs.get(job_id)
                if job is not None and job.state is JobState.RUNNING:
                    self._end(job, JobTrigger.CANCELLED, reason, None, now)
            case ReleaseJob(job_id, runs_only):
                self._release(peer, job_id, runs_only, now)
            case Attach(ticket, job_id):
                self._attach(peer, ticket, job_id)
            case Watch(topic):
                self._out.append(SendView(peer, topic))
            case Unwatch(topic):
                self._out.append(StopView(peer, topic))
            case Look(ticket, topic):
                if topic == "cluster" or topic in self.jobs:
                    self._out.append(SendView(peer, topic, ticket))
                else:
                    self._refuse(peer, ticket, self._no_such_job(JobId(topic)))
            case _:
                # Authenticated, yet out of its role: nothing it says next can be trusted.
                self._out.append(Close(peer))

    def _submit(self, peer: PeerId, message: Submit, now: float) -> None:
        spec, splits = message.spec, message.splits
        digests = {s.blob for s in splits if isinstance(s, MemorySplit) and s.blob}
        digests.add(spec.functions)
        refusal = "" if spec.in_process else self._refusal(spec, digests)
        # What was sent for a job to come is that job's now, or nobody's.
        offered = self._offered.get(peer, Counter())
        offered.subtract(digests)
        if refusal:
            self._refuse(peer, message.ticket, refusal)
            self._drop(digests)
            return
        self._jobs_seen += 1
        job_id = JobId(f"j{self._jobs_seen}")
        planned_maps, planned_reduces = plan_tasks(spec, splits)
        maps = [Task.planned(plan, TaskState.READY) for plan in planned_maps]
        reduces = [Task.planned(plan, TaskState.WAITING) for plan in planned_reduces]
        job = Job(job_id, spec, maps, reduces, frozenset(digests), now)
        job.tasks = {task.id: task for task in (*maps, *reduces)}
        job.ready_maps.extend(maps)
        job.maps_left, job.reduces_left = len(maps), len(reduces)
        job.watchers[peer] = None
        self.jobs[job_id] = job
        self._out.append(Send(peer, Accepted(message.ticket, job_id)))
        self._publish(
            public.JobAccepted(
                at=now,
                job=job_id,
                name=spec.name,
                maps=len(maps),
                reduces=len(reduces),
                input_bytes=sum(task.input_bytes for task in maps),
                functions=spec.functions_label,
            )
        )
        if not maps:
            self._maps_done(job, now)

    def _refusal(self, spec: JobSpec, digests: set[str]) -> str:
        """Say why a job cannot run here; "" when it can."""
        if spec.python != self.python:
            return (
                f"this cluster runs Python {self.python} and your program Python {spec.python}: "
                "functions travel only between equal versions; start workers with yours"
            )
        if not digests <= self.blobs:
            return "the job's functions or input did not arrive whole: submit it again"
        return ""

    def _attach(self, peer: PeerId, ticket: int, job_id: JobId) -> None:
        job = self.jobs.get(job_id)
        if job is None:
            self._refuse(peer, ticket, self._no_such_job(job_id))
            return
        lost = [task for task in job.result_tasks if job.delivered and self._is_lost(task)]
        if lost:
            self._refuse(
                peer,
                ticket,
                f"the result of {job_id} was delivered, and what this cluster kept of it died with "
                f"{lost[0].holder}: run the job again",
            )
            return
        self._out.append(Send(peer, Accepted(ticket, job_id)))
        self._out.extend(Send(peer, line) for line in job.printed)
        if job.state is JobState.RUNNING:
            job.watchers[peer] = None
        else:
            self._out.append(Send(peer, self._ended(job)))

    def _release(self, peer: PeerId, job_id: JobId, runs_only: bool, now: float) -> None:
        job = self.jobs.get(job_id)
        if job is None:
            return
        if job.state is JobState.RUNNING:
            job.watchers.pop(peer, None)
            if job.watchers or (runs_only and job.ended_at is None):
                return
            # What runs is for nobody: the result was not wanted, or it was lost here right after
            # its client had it.
            self._end(job, JobTrigger.CANCELLED, "its result was released", None, now)
        if runs_only:
            self._let_go(job, runs_only=job.state is JobState.DONE)
            self._forget_oldest(now)
        else:
            self._forget(job, now)

    def _let_go(self, job: Job, *, runs_only: bool) -> None:
        """No task of the job runs again: workers may delete what for, and all of it if so said."""
        job.delivered = True
        blobs, job.blobs = job.blobs, frozenset()
        gone = self._drop(blobs)
        for worker in self.workers.values():
            held = tuple(digest for digest in gone if digest in worker.blobs)
            worker.blobs.difference_update(held)
            if held or job.id in worker.jobs:
                self._out.append(Send(worker.peer, Forget(job.id, held, runs_only)))
            if not runs_only:
                worker.jobs.discard(job.id)

    def _drop(self, digests: Iterable[str]) -> list[str]:
        """Drop those blobs that no job needs, present or announced; return them."""
        needed = {digest for job in self.jobs.values() for digest in job.blobs}
        for offered in self._offered.values():
            needed.update(+offered)
        gone = sorted(self.blobs.intersection(digests) - needed)
        self.blobs.difference_update(gone)
        self._out.extend(DropBlob(digest) for digest in gone)
        return gone

    def _forget_oldest(self, now: float) -> None:
        delivered = [job for job in self.jobs.values() if job.delivered]
        for job in delivered[: max(0, len(delivered) - ENDED_JOBS_KEPT)]:
            self._forget(job, now)

    def _forget(self, job: Job, now: float) -> None:
        self._let_go(job, runs_only=False)
        del self.jobs[job.id]
        self._publish(public.JobForgotten(at=now, job=job.id))

    # --- workers ----------------------------------------------------------------------------------

    def _register(self, peer: PeerId, info: Register, now: float) -> None:
        if info.python != self.python:
            reason = (
                f"this cluster runs Python {self.python}, the worker on {info.host} "
                f"Python {info.python}: start it with Python {self.python}"
            )
            self._note(None, "warning", f"a worker was refused: {reason}", now)
            self._out += [Send(peer, Retire(reason)), Close(peer)]
            return
        self._workers_seen += 1
        worker = Worker(WorkerId(f"w{self._workers_seen}"), peer, info, now)
        self.workers[worker.id] = worker
        self._by_peer[peer] = worker
        self._out.append(Send(peer, Registered(worker.id, self.beat_s)))
        self._publish(
            public.WorkerJoined(
                at=now, worker=worker.id, host=info.host, pid=info.pid, slots=info.slots
            )
        )

    def _worker_spoke(self, worker: Worker, now: float) -> None:
        worker.last_seen = now
        if worker.state is WorkerLiveness.SUSPECT:
            advance(worker, WORKER_TRANSITIONS, WorkerTrigger.BEAT, now)
            self._publish(public.WorkerAlive(at=now, worker=worker.id))

    def _beat(self, worker: Worker, beat: Beat, now: float) -> None:
        self._publish(
            public.WorkerBeat(
                at=now,
                worker=worker.id,
                cpu_percent=beat.cpu_percent,
                memory_bytes=beat.memory_bytes,
            )
        )
        for p in beat.progress:
            if worker.assigned.get((p.job, p.task)) == p.attempt:
                self._publish(
                    public.Progress(
                        at=now,
                        job=p.job,
                        task=p.task,
                        attempt=p.attempt,
                        worker=worker.id,
                        records=p.records,
                        bytes=p.bytes,
                    )
                )

    def _tick(self, now: float) -> None:
        stalled = 0.0 if self._last_tick is None else now - self._last_tick
        self._last_tick = now
        for worker in list(self.workers.values()):
            if stalled > STALL_S:
                worker.last_seen = min(now, worker.last_seen + stalled)
            silent = now - worker.last_seen
            if silent > self.dead_after_s:
                self._out.append(Close(worker.peer))
                self._worker_lost(worker, f"no beat for {silent:.1f} s", now)
            elif silent > self.suspect_after_s and worker.state is WorkerLiveness.ALIVE:
                advance(worker, WORKER_TRANSITIONS, WorkerTrigger.SILENT, now)
                self._publish(public.WorkerSuspect(at=now, worker=worker.id, silent_s=silent))
        if not self.workers:
            for job in self.jobs.values():
                lonely = job.state is JobState.RUNNING and now - job.started_at > LONELY_S
                if lonely and not job.lonely:
                    job.lonely = True
                    self._note(
                        job.id,
                        "warning",
                        "waiting for a worker, none is here: start one with `mrkernel worker`",
                        now,
                    )

    def _peer_lost(self, peer: PeerId, cause: str, now: float) -> None:
        worker = self._by_peer.get(peer)
        if worker is not None:
            self._worker_lost(worker, cause, now)
        for job in self.jobs.values():
            job.watchers.pop(peer, None)
        self._drop(self._offered.pop(peer, ()))

    def _worker_lost(self, worker: Worker, cause: str, now: float) -> None:
        advance(worker, WORKER_TRANSITIONS, WorkerTrigger.LOST, now, cause)
        del self.workers[worker.id], self._by_peer[worker.peer]
        self._publish(public.WorkerLost(at=now, worker=worker.id, cause=cause))
        for job in list(self.jobs.values()):
            if job.id in worker.jobs and not job.delivered:
                self._job_lost_worker(job, worker, now)
        worker.assigned.clear()

    def _job_lost_worker(self, job: Job, worker: Worker, now: float) -> None:
        for job_id, task_id in list(worker.assigned):
            if job_id == job.id:
                attempt = worker.assigned[job_id, task_id]
                why = f"worker {worker.id} died"
                self._lose_attempt(job, job.tasks[task_id], attempt, why, now)
        lost = self._lost_outputs(job)
        if lost:
            self._lose_outputs(job, lost, f"worker {worker.id} died", now)
            names = tuple(task.id for task in lost)
            self._publish(public.OutputLost(at=now, job=job.id, worker=worker.id, tasks=names))

    def _lost_outputs(self, job: Job) -> list[Task]:
        """Finished tasks whose output died with its worker and is needed.

        A part of the result that is lost opens its reduce task again, and that one needs the
        outputs of maps which nobody wanted any more when their worker died.
        """
        parts = [task for task in job.result_tasks if self._is_lost(task)]
        if job.map_only:
            return parts
        reopened = set(parts)
        opened = [
            task.index
            for task in job.reduces
            if task.state is not TaskState.DONE or task in reopened
        ]
        maps = [
            task
            for task in job.maps
            if task.output is not None
            and task.holder not in self.workers
            and any(task.output.sizes[index] for index in opened)
        ]
        return maps + parts

    # --- attempts ---------------------------------------------------------------------------------

    def _take(
        self, worker: Worker, job_id: JobId, task_id: TaskId, attempt: int
    ) -> tuple[Job, Task] | None:
        """Free the worker of an attempt; None when that attempt is not running there any more."""
        if worker.assigned.get((job_id, task_id)) != attempt:
            return None
        job = self.jobs[job_id]
        del worker.assigned[job_id, task_id]
        job.running -= 1
        return job, job.tasks[task_id]

    def _finished(self, worker: Worker, message: Finished, now: float) -> None:
        known = self.jobs.get(message.job)
        if known is not None and not _fits(known, message):
            self._out.append(Close(worker.peer))
            return
        taken = self._take(worker, message.job, message.task, message.attempt)
        if taken is None:
            return
        job, task = taken
        started = task.running.pop(message.attempt)[1]
        advance(task, TASK_TRANSITIONS, TaskTrigger.FINISHED, now, worker.id)
        task.winner, task.holder = message.attempt, worker.id
        task.output, task.part = message.output, message.part
        task.counters = message.counters
        task.seconds = message.seconds
        self._publish(
            public.AttemptFinished(
                at=now,
                job=job.id,
                task=task.id,
                attempt=message.attempt,
                worker=worker.id,
                records=message.records,
                pairs=message.pairs,
                bytes_in=message.bytes_in,
                bytes_out=sum(message.output.sizes) if message.output else _part_bytes(message),
                seconds=message.seconds or now - started,
            )
        )
        for attempt in list(task.running):
            self._cancel_attempt(job, task, attempt, now)
        if task.is_map:
            job.mean_map_s = smooth(job.mean_map_s, message.seconds)
            job.maps_left -= 1
            if not job.maps_left:
                self._maps_done(job, now)
        else:
            job.mean_reduce_s = smooth(job.mean_reduce_s, message.seconds)
            job.reduces_left -= 1
            if not job.reduces_left:  # maps that run again for nobody are cancelled
                self._end(job, JobTrigger.ALL_DONE, "", None, now)

    def _maps_done(self, job: Job, now: float) -> None:
        for task in job.reduces:
            if task.state is TaskState.WAITING:
                advance(task, TASK_TRANSITIONS, TaskTrigger.INPUTS_READY, now)
                job.ready_reduces.append(task)
        if not job.reduces_left and job.state is JobState.RUNNING:
            self._end(job, JobTrigger.ALL_DONE, "", None, now)

    def _failed(self, worker: Worker, message: Failed, now: float) -> None:
        failure = message.failure
        taken = self._take(worker, message.job, message.task, message.attempt)
        if taken is None:
            return
        job, task = taken
        del task.running[message.attempt]
        if failure.kind == "environment":
            task.faults += 1
        else:
            task.crashes += 1
        task.failed_on.add(worker.id)
        self._publish(
            public.AttemptFailed(
                at=now,
                job=job.id,
                task=task.id,
                attempt=message.attempt,
                worker=worker.id,
                sentence=failure.sentence,
            )
        )
        if failure.kind in ("user", "input"):
            self._end(job, JobTrigger.TASK_FAILED, f"{task.id}: {failure.sentence}", failure, now)
        elif task.crashes >= job.spec.attempts or (
            # A worker's bad disk is not the task's fault; but when all of them fail alike, there
            # is nobody left to hope for.
            task.faults >= job.spec.attempts and task.failed_on.issuperset(self.workers)
        ):
            times = task.crashes + task.faults
            sentence = f"{task.id} failed {times} times, last on {worker.id}: {failure.sentence}"
            self._end(job, JobTrigger.TASK_FAILED, sentence, failure, now)
        else:
            self._requeue(job, task, now, failure.sentence)

    def _fetch_failed(self, worker: Worker, message: FetchFailed, now: float) -> None:
        known = self.jobs.get(message.job)
        if known is not None and not 0 <= message.map_index < len(known.maps):
            self._out.append(Close(worker.peer))
            return
        taken = self._take(worker, message.job, message.task, message.attempt)
        if taken is None:
            return
        job, task = taken
        del task.running[message.attempt]
        self._requeue(job, task, now, message.reason)
        self._publish(
            public.AttemptLost(
                at=now,
                job=job.id,
                task=task.id,
                attempt=message.attempt,
                worker=worker.id,
                cause=message.reason,
            )
        )
        source = job.maps[message.map_index]
        if source.state is not TaskState.DONE or source.winner != message.map_attempt:
            return  # known to be lost already: its worker's death was noticed first
        source.repeats += 1
        if source.repeats >= REPEATS:
            sentence = (
                f"the output of {source.id} could not be read {source.repeats} times, last by "
                f"{task.id} on {worker.id} from {message.worker}: {message.reason}"
            )
            failure = Failure(kind="environment", sentence=sentence)
            self._end(job, JobTrigger.TASK_FAILED, sentence, failure, now)
            return
        self._lose_outputs(job, [source], message.reason, now)
        self._publish(
            public.OutputLost(at=now, job=job.id, worker=message.worker, tasks=(source.id,))
        )

    def _lose_attempt(self, job: Job, task: Task, attempt: int, why: str, now: float) -> None:
        """An attempt died with its worker."""
        worker_id, _ = task.running.pop(attempt)
        job.running -= 1
        self._requeue(job, task, now, why)
        self._publish(
            public.AttemptLost(
                at=now, job=job.id, task=task.id, attempt=attempt, worker=worker_id, cause=why
            )
        )

    def _cancel_attempt(self, job: Job, task: Task, attempt: int, now: float) -> None:
        """Stop an attempt whose answer is not wanted any more."""
        worker_id, _ = task.running.pop(attempt)
        worker = self.workers[worker_id]
        del worker.assigned[job.id, task.id]
        job.running -= 1
        self._out.append(Send(worker.peer, CancelAttempt(job.id, task.id, attempt)))
        self._publish(
            public.AttemptLost(
                at=now,
                job=job.id,
                task=task.id,
                attempt=attempt,
                worker=worker_id,
                cause="cancelled",
            )
        )

    def _requeue(self, job: Job, task: Task, now: float, why: str) -> None:
        if task.running:
            return  # another attempt of it still runs
        advance(task, TASK_TRANSITIONS, TaskTrigger.REQUEUED, now, why)
        self._queue(job, task, now)

    def _queue(self, job: Job, task: Task, now: float) -> None:
        """Put a READY task at the head of its line: others may be waiting for it."""
        if task.is_map:
            job.ready_maps.appendleft(task)
        elif job.maps_left:
            advance(task, TASK_TRANSITIONS, TaskTrigger.INPUTS_LOST, now)
        else:
            job.ready_reduces.appendleft(task)

    def _lose_outputs(self, job: Job, tasks: list[Task], why: str, now: float) -> None:
        """Finished work is gone; what waits for it waits again."""
        for task in tasks:
            advance(task, TASK_TRANSITIONS, TaskTrigger.OUTPUT_LOST, now, why)
            task.winner, task.holder, task.output, task.part = 0, None, None, None
            if task.is_map:
                job.maps_left += 1
            else:
                job.reduces_left += 1
        if tasks and job.state is JobState.DONE:
            advance(job, JOB_TRANSITIONS, JobTrigger.RESULT_LOST, now, why)
        for task in tasks:
            self._queue(job, task, now)
        if job.maps_left:
            for task in job.reduces:
                if task.state is TaskState.READY:
                    advance(task, TASK_TRANSITIONS, TaskTrigger.INPUTS_LOST, now, why)

    def _printed(self, worker: Worker, message: Printed, now: float) -> None:
        job = self.jobs.get(message.job)
        if job is None:
            return
        line = JobPrinted(job.id, message.task, worker.id, message.text, message.dropped)
        if job.printed_characters < PRINTED_KEPT:
            job.printed.append(line)
            job.printed_characters += len(line.text)
        for peer in job.watchers:
            self._out.append(Send(peer, line))
        self._publish(
            public.Printed(
                at=now,
                job=job.id,
                task=message.task,
                worker=worker.id,
                text=message.text,
                dropped=message.dropped,
            )
        )

    # --- the end of a job -------------------------------------------------------------------------

    def _end(
        self, job: Job, trigger: JobTrigger, sentence: str, failure: Failure | None, now: float
    ) -> None:
        advance(job, JOB_TRANSITIONS, trigger, now, sentence)
        job.ended_at, job.sentence, job.failure = now, sentence, failure
        for task in job.tasks.values():
            for attempt in list(task.running):
                self._cancel_attempt(job, task, attempt, now)
            if task.state is TaskState.RUNNING:
                # It may be wanted again: the result of a job that is done can still be lost.
                self._requeue(job, task, now, "the job ended")
        ended = self._ended(job)
        self._publish(public.JobEnded(at=now, job=job.id, outcome=ended.outcome, sentence=sentence))
        self._out.extend(Send(peer, ended) for peer in job.watchers)
        if job.state is not JobState.DONE:
            self._let_go(job, runs_only=False)
            self._forget_oldest(now)

    def _ended(self, job: Job) -> Ended:
        parts: list[PartPlace] = []
        counters: dict[str, int] = {}
        if job.state is JobState.DONE:
            for task in job.tasks.values():
                for name, n in task.counters.items():
                    counters[name] = counters.get(name, 0) + n
            for task in job.result_tasks:
                place = self._place(task)
                if place is not None:
                    parts.append(place)
        assert job.ended_at is not None
        outcomes = {
            JobState.DONE: "done",
            JobState.FAILED: "failed",
            JobState.CANCELLED: "cancelled",
        }
        return Ended(
            job=job.id,
            name=job.spec.name,
            outcome=outcomes[job.state],  # type: ignore[arg-type]
            sentence=job.sentence,
            seconds=job.ended_at - job.started_at,
            failure=job.failure,
            parts=tuple(parts),
            counters=counters,
            map_only=job.map_only,
        )

    def _is_lost(self, task: Task) -> bool:
        """Whether the only copy of a result part died with its worker."""
        part = task.part
        kept_there = part is not None and part.pairs > 0 and part.data is None
        return kept_there and task.holder not in self.workers

    def _place(self, task: Task) -> PartPlace | None:
        """Where the part of a DONE task is; None when it is empty, or lost after delivery."""
        part = task.part
        assert task.holder is not None
        holder = self.workers.get(task.holder)
        if part is None or not part.pairs or (holder is None and part.data is None):
            return None
        return PartPlace(
            index=task.index,
            name=part.name,
            nbytes=part.nbytes,
            pairs=part.pairs,
            data=part.data,
            worker=task.holder,
            host_id=holder.info.host_id if holder else "",
            directory=holder.info.directory if holder else "",
            data_host=holder.info.data_host if holder else "",
            data_port=holder.info.data_port if holder else 0,
        )

    # --- scheduling -------------------------------------------------------------------------------

    def _schedule(self, now: float) -> None:
        """Hand out ready tasks while some worker has room, to the job with the fewest running."""
        blocked: set[JobId] = set()
        while True:
            candidates = [
                job
                for job in self.jobs.values()
                if job.state is JobState.RUNNING
                and (job.ready_maps or job.ready_reduces)
                and job.id not in blocked
            ]
            if not candidates:
                return
            job = min(candidates, key=lambda j: j.running)
            if not self._hand_out(job, now, alone=len(candidates) == 1):
                blocked.add(job.id)

    def _hand_out(self, job: Job, now: float, *, alone: bool) -> bool:
        """Start ready tasks of ``job``: all that fit when it is alone, else one. False: none."""
        started = False
        for line, mean_s in (
            (job.ready_maps, job.mean_map_s),
            (job.ready_reduces, job.mean_reduce_s),
        ):
            ahead = 1 + prefetch(mean_s)
            passed: list[Task] = []  # they wait for a worker where they have not failed yet
            while line:
                task = line[0]
                if task.state is not TaskState.READY:
                    line.popleft()  # it lost its inputs while it stood in line
                    continue
                worker = choose_worker(
                    self.workers.values(),
                    load=_load,
                    room=lambda w: _room(w, ahead),  # noqa: B023 - used within this iteration
                    avoided=lambda w: w.id in task.failed_on,  # noqa: B023
                )
                if worker is not None:
                    self._start(job, line.popleft(), worker, now)
                    started = True
                    if not alone:
                        break
                elif task.failed_on:
                    passed.append(line.popleft())
                else:
                    break
            line.extendleft(reversed(passed))
            if started and not alone:
                break
        return started

    def _start(self, job: Job, task: Task, worker: Worker, now: float) -> None:
        task.attempts += 1
        advance(task, TASK_TRANSITIONS, TaskTrigger.STARTED, now, worker.id)
        task.running[task.attempts] = (worker.id, now)
        worker.assigned[job.id, task.id] = task.attempts
        job.running += 1
        if job.id not in worker.jobs:
            worker.jobs.add(job.id)
            self._send_blob(worker, job.spec.functions)
            self._out.append(Send(worker.peer, JobInfo(job.id, job.spec)))
        if isinstance(task.split, MemorySplit) and task.split.blob:
            self._send_blob(worker, task.split.blob)
        sources = () if task.is_map else self._sources(job, task.index)
        self._out.append(
            Send(
                worker.peer,
                Start(job.id, task.id, task.attempts, task.index, task.split, sources),
            )
        )
        self._publish(
            public.AttemptStarted(
                at=now,
                job=job.id,
                task=task.id,
                attempt=task.attempts,
                worker=worker.id,
                input=task.label,
            )
        )

    def _send_blob(self, worker: Worker, digest: str) -> None:
        if digest not in worker.blobs:
            worker.blobs.add(digest)
            self._out.append(SendBlob(worker.peer, digest))

    def _sources(self, job: Job, partition: int) -> tuple[RunSource, ...]:
        """Who holds what of one partition; runs that are empty there are left out."""
        runs: dict[WorkerId, list[tuple[int, int]]] = {}
        for task in job.maps:
            assert task.holder is not None
            if task.output is not None and task.output.sizes[partition]:
                runs.setdefault(task.holder, []).append((task.index, task.winner))
        sources = []
        for worker_id, held in runs.items():
            info = self.workers[worker_id].info
            sources.append(
                RunSource(
                    worker_id,
                    info.host_id,
                    info.directory,
                    info.data_host,
                    info.data_port,
                    tuple(held),
                )
            )
        return tuple(sources)

    # --- small words ------------------------------------------------------------------------------

    def _publish(self, event: public.AnyEvent) -> None:
        self._out.append(Publish(event))

    def _note(self, job: JobId | None, level: str, sentence: str, now: float) -> None:
        self._publish(public.Noted(at=now, job=job, level=level, sentence=sentence))  # type: ignore[arg-type]

    def _refuse(self, peer: PeerId, ticket: int, sentence: str) -> None:
        self._out.append(Send(peer, Refused(ticket, sentence)))

    def _no_such_job(self, job_id: JobId) -> str:
        known = ", ".join(self.jobs) or "none"
        return f"there is no job {job_id!r} here; jobs I know: {known}"


def _load(worker: Worker) -> float:
    return worker.load


def _room(worker: Worker, ahead: int) -> int:
    if worker.state is not WorkerLiveness.ALIVE:
        return 0
    return worker.info.slots * ahead - len(worker.assigned)


def _needed(job: Job, task: Task) -> bool:
    """Whether the output of a DONE task is still wanted, so that losing it means running again."""
    if task.state is not TaskState.DONE:
        return False
    if task.is_map and not job.map_only:
        assert task.output is not None
        open_reduces = [r.index for r in job.reduces if r.state is not TaskState.DONE]
        return any(task.output.sizes[index] for index in open_reduces)
    part = task.part
    return part is not None and part.pairs > 0 and part.data is None


def _fits(job: Job, message: Finished) -> bool:
    """Whether an answer is one that the task it names can give."""
    task = job.tasks.get(message.task)
    if task is None or not task.is_map or job.map_only:
        return message.part is not None
    return message.output is not None and len(message.output.sizes) == len(job.reduces)


def _part_bytes(message: Finished) -> int:
    return message.part.nbytes if message.part else 0


__all__ = ["ManagerState"]
