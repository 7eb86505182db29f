"""Failed attempts: whose fault it was, and whether the task runs again or the job is over. Pure.

Who is to blame: a plain exception of user code fails the job at once, for it would be raised again;
an environment (a full disk, a lost worker, a run that cannot be read) never counts against a task;
a process that crashes or hangs does, up to ``attempts`` times, or on three different workers, which
no machine explains. From the second try on the task keeps an exact record pointer, so that what
kills it can be named; with ``--on-error skip`` that record is passed over.
"""

from __future__ import annotations

from mrkernel.data.splits import PartSplit
from mrkernel.ids import WorkerId
from mrkernel.job.failure import Failure
from mrkernel.manager.attempts import Attempts, Ending
from mrkernel.manager.books import Books
from mrkernel.manager.instructions import Close
from mrkernel.manager.outputs import Outputs
from mrkernel.manager.records import Job, Task, Worker
from mrkernel.manager.transitions import JobTrigger, TaskState
from mrkernel.monitor import events as public
from mrkernel.protocol.worker_messages import Failed, FetchFailed

#: A map task whose output could not be read so often fails the job: what keeps a reduce task from
#: its input is not going away, and running the map task for ever would hide it.
REPEATS = 10
#: So many workers that die while they run one task are no chance any more.
LOSSES = 10
#: A task that crashes on so many different workers is to blame, whatever ``attempts`` allows.
CRASHED_ON = 3
#: Seconds a worker gets no new work after its environment failed an attempt; doubles each time.
BAR_S = 1.0
LONGEST_BAR_S = 30.0


class Failures:
    """The pages about what went wrong."""

    def __init__(self, books: Books, attempts: Attempts, outputs: Outputs) -> None:
        self._books = books
        self._attempts = attempts
        self._outputs = outputs

    def failed(self, worker: Worker, message: Failed, now: float) -> Ending | None:
        """An attempt failed: its task runs again, or the job is over."""
        failure = message.failure
        taken = self._attempts.take(worker, message.job, message.task, message.attempt, now)
        if taken is None:
            return None
        job, task, _ = taken
        job.moved_at = now
        self._books.publish(
            public.AttemptFailed(
                at=now,
                job=job.id,
                task=task.id,
                attempt=task.seen(message.attempt),
                worker=worker.id,
                sentence=failure.sentence,
            )
        )
        ending = self._judge(job, task, worker, failure, now)
        if ending is None:
            self._attempts.requeue(job, task, now, failure.sentence)
        return ending

    def _judge(
        self, job: Job, task: Task, worker: Worker, failure: Failure, now: float
    ) -> Ending | None:
        task.failed_on |= {worker.id}
        if failure.kind in ("user", "input"):
            return Ending(job, JobTrigger.TASK_FAILED, f"{task.id}: {failure.sentence}", failure)
        if failure.kind == "environment":
            task.faults += 1
            self._bar(worker, failure.sentence, now)
            # A worker's bad disk is not the task's fault; but when all of them fail alike, there
            # is nobody left to hope for; nor does a module come that is nowhere installed.
            missing = failure.error_type == "ModuleNotFoundError"
            hopeless = missing or task.faults >= job.spec.attempts
            if hopeless and task.failed_on.issuperset(self._books.workers):
                return self._blame(job, task, worker, failure)
            return None
        if job.spec.skip and task.is_map:
            return self._pass_over(job, task, worker, failure)
        task.careful = True
        task.crashes += 1
        if failure.kind == "crash":
            task.crashed_on |= {worker.id}
        if task.crashes >= job.spec.attempts or len(task.crashed_on) >= CRASHED_ON:
            return self._blame(job, task, worker, failure)
        return None

    def _pass_over(self, job: Job, task: Task, worker: Worker, failure: Failure) -> Ending | None:
        """Find the record that kills runners, then go on without it."""
        if not task.careful:
            task.careful = True  # now it will be known which record it is
            return None
        if failure.index is None or failure.index in task.skip:
            task.crashes += 1  # not between two records: nothing to pass over
            if task.crashes >= job.spec.attempts:
                return self._blame(job, task, worker, failure)
            return None
        # The table of bad records has a column for the place.
        task.skip[failure.index] = failure.sentence.replace(f"; it was at {failure.where}", "")
        if sum(bool(why) for other in job.maps for why in other.skip.values()) > job.spec.skip:
            return self._blame(job, task, worker, failure)
        return None

    def _blame(self, job: Job, task: Task, worker: Worker, failure: Failure) -> Ending:
        times = task.crashes + task.faults
        if len(task.crashed_on) >= CRASHED_ON:
            where = ", ".join(sorted(task.crashed_on))
            sentence = f"{task.id} crashed on {where}, last: {failure.sentence}"
        else:
            often = f"{times} times, last on" if times > 1 else "on"
            sentence = f"{task.id} failed {often} {worker.id}: {failure.sentence}"
        if failure.hint and failure.hint not in sentence:
            sentence += f"; {failure.hint}"
        return Ending(job, JobTrigger.TASK_FAILED, sentence, failure)

    def _bar(self, worker: Worker, cause: str, now: float) -> None:
        seconds = min(LONGEST_BAR_S, BAR_S * 2**worker.bars)
        worker.bars += 1
        self.bar(worker, cause, seconds, now)

    def bar(self, worker: Worker, cause: str, seconds: float, now: float) -> None:
        """Hand no new work to a worker for a while."""
        worker.barred, worker.bar_told, worker.barred_until = True, True, now + seconds
        self._books.loads.changed(worker)
        self._books.publish(
            public.WorkerBarred(at=now, worker=worker.id, cause=cause, seconds=seconds)
        )

    def died_with(self, job: Job, worker: Worker, now: float) -> Ending | None:
        """A worker died: that is no fault of what ran there, unless it always happens."""
        for task in job.tasks.values():
            if task.losses >= LOSSES and task.state is not TaskState.DONE:
                sentence = (
                    f"{task.losses} workers died while they ran {task.id}, {worker.id} the last: "
                    "look at what it does to its machine (memory, processes), and run the job again"
                )
                failure = Failure(kind="crash", sentence=sentence)
                return Ending(job, JobTrigger.TASK_FAILED, sentence, failure)
        return None

    # --- runs that cannot be read -----------------------------------------------------------------

    def fetch_failed(self, worker: Worker, message: FetchFailed, now: float) -> Ending | None:
        """What another task made could not be read: the link is to blame, or it is made again."""
        known = self._books.jobs.get(message.job)
        if known is not None and not _can_read(known, message):
            self._books.say(Close(worker.peer))
            return None
        taken = self._attempts.take(worker, message.job, message.task, message.attempt, now)
        if taken is None:
            return None
        job, task, running = taken
        job.moved_at = now
        self._attempts.requeue(job, task, now, message.reason)
        self._attempts.tell_lost(job, task, message.attempt, worker.id, message.reason, now)
        maker = self._books.jobs.get(message.part_of) if message.part_of else job
        if maker is None:
            return None  # the next tick says so
        made = maker.result_tasks if message.part_of else maker.maps
        source = made[message.map_index]
        holder = source.holder
        if source.state is not TaskState.DONE or source.winner != message.map_attempt:
            return None  # known to be lost already
        if not message.part_of and holder != message.worker:
            return None  # or elsewhere
        assert holder is not None
        store = self._books.stores.get(holder)
        if store is not None and store.kept_since > running.at and message.blame != "disk":
            return None  # it was told an address where the store is not any more
        if message.blame == "network" and self._another_reader(task, worker, holder):
            self._books.note(
                job.id,
                "warning",
                f"{worker.id} cannot fetch from {holder} ({message.reason}): {task.id} "
                "goes to another worker",
                now,
            )
            task.failed_on |= {worker.id}
            return None
        source.repeats += 1
        if source.repeats >= REPEATS:
            of = f" of {maker.id}" if message.part_of else ""
            sentence = (
                f"the output of {source.id}{of} could not be read {source.repeats} times, last by "
                f"{task.id} on {worker.id} from {holder}: {message.reason}; look at the "
                "disks and the network between these hosts, and run the job again"
            )
            failure = Failure(kind="environment", sentence=sentence)
            return Ending(job, JobTrigger.TASK_FAILED, sentence, failure)
        if message.part_of and maker.delivered:
            sentence = (
                f"part {source.index} of {maker.id}, which {task.id} reads, cannot be read on "
                f"{holder} ({message.reason}), and that job's map output is not kept any more: run "
                f"{maker.id} again, and this job on its new result"
            )
            failure = Failure(kind="environment", sentence=sentence)
            return Ending(job, JobTrigger.TASK_FAILED, sentence, failure)
        lost = [source]
        if message.blame != "disk":
            # Nobody is left who could read that store, or what it had is not there (its worker
            # ended in good order, somebody cleaned up): all it holds of the job is made again, or
            # each of its runs would cost another attempt.
            lost = [
                task
                for task in made
                if task is source
                or (
                    task.state is TaskState.DONE
                    and task.holder == holder
                    and (task.part_in_file if message.part_of else task.run_in_file)
                )
            ]
        if message.blame == "network":
            # From now on the job keeps away from there, so that two who do not reach each other do
            # not hand it to and fro.
            away = {store.keeper.id if store is not None and store.keeper else holder}
            readers = job.maps if message.part_of else job.reduces
            for avoiding in (*lost, *readers):
                avoiding.failed_on = frozenset(away)
        if message.part_of:
            lost = self._outputs.lose_parts(maker, lost, message.reason, now)
        else:
            self._outputs.lose(maker, lost, message.reason, now)
        self._books.publish(
            public.OutputLost(
                at=now, job=maker.id, worker=holder, tasks=tuple(task.id for task in lost)
            )
        )
        return None

    def _another_reader(self, task: Task, worker: Worker, holder: WorkerId) -> bool:
        """Whether somebody else may reach the store: the link between two is to blame first."""
        store = self._books.stores.get(holder)
        if store is None or store.keeper is None:
            return False
        tried = {*task.failed_on, worker.id}
        return any(other not in tried for other in self._books.workers)


def _can_read(job: Job, message: FetchFailed) -> bool:
    """Whether the task that a worker names reads what it could not read."""
    if not message.part_of:
        return 0 <= message.map_index < len(job.maps)
    task = job.tasks.get(message.task)
    split = None if task is None else task.split
    if not isinstance(split, PartSplit):
        return False
    return (split.job, split.part) == (message.part_of, message.map_index)
