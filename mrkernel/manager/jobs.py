"""Jobs: accepted or refused, ended, attached to, released and forgotten. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec.structs import replace

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId
from mrkernel.job.builtins import told_by
from mrkernel.job.failure import Failure
from mrkernel.manager.admission import Admission, folds_of, no_extension, planned
from mrkernel.manager.attempts import Attempts, Ending, done_event
from mrkernel.manager.books import Books
from mrkernel.manager.budget import BUDGET, Budget
from mrkernel.manager.chains import Chains
from mrkernel.manager.events import PeerId
from mrkernel.manager.facts import JobGone, JobLetGo, JobOver, JobTaken
from mrkernel.manager.instructions import DropBlob, Send, SendFunctions
from mrkernel.manager.outputs import Outputs
from mrkernel.manager.records import Job, Worker
from mrkernel.manager.stores import Stores
from mrkernel.manager.transitions import (
    JOB_TRANSITIONS,
    JobState,
    JobTrigger,
    TaskState,
    advance,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Accepted, Ended, JobPrinted, StorePlaces, Submit
from mrkernel.protocol.worker_messages import Forget, PartPlace, Printed

#: Ended jobs whose result nobody waits for are forgotten, oldest first, beyond this many.
ENDED_JOBS_KEPT = 100
OUTCOMES: dict[JobState, Literal["done", "failed", "cancelled"]] = {
    JobState.DONE: "done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
#: Characters of a job's output kept for those who attach later and for ``mrkernel logs``.
PRINTED_KEPT = 1 << 20


class Jobs:
    """The pages about jobs.

    Args:
        python: minor version whose closures this cluster runs, "3.11".
        in_process: whether functions and inputs are where its jobs run, and never travel.
        keep: bytes of results that may lie with the workers.
    """

    def __init__(
        self,
        books: Books,
        attempts: Attempts,
        stores: Stores,
        outputs: Outputs,
        chains: Chains,
        python: str,
        *,
        in_process: bool = False,
        keep: int = BUDGET,
    ) -> None:
        self._books = books
        self._attempts = attempts
        self._stores = stores
        self._outputs = outputs
        self._chains = chains
        self._admission = Admission(books, python, in_process=in_process)
        self._budget = Budget(books, keep)
        self._by_key: dict[str, Job] = {}  #: of submissions that may be sent again
        self._offered: dict[PeerId, Counter[str]] = {}  #: blobs sent for jobs still to come

    def blob_stored(self, peer: PeerId, digest: str) -> None:
        """A client sent a blob for a job that it will submit."""
        self._books.blobs.add(digest)
        self._offered.setdefault(peer, Counter())[digest] += 1

    def client_lost(self, peer: PeerId, now: float) -> None:
        """Nobody listens there any more; its jobs go on."""
        for job in self._books.jobs.values():
            job.watchers.pop(peer, None)
            job.readers.discard(peer)
        self._drop(self._offered.pop(peer, ()))
        self._keep_within_budget(None, now)

    def cancel(self, job_id: JobId, reason: str, now: float) -> None:
        """Stop a job everywhere; one that has ended stays as it is."""
        job = self._books.jobs.get(job_id)
        if job is not None and job.state is JobState.RUNNING:
            self.end(Ending(job, JobTrigger.CANCELLED, reason), now)

    def submit(self, peer: PeerId, message: Submit, now: float) -> None:
        """Accept a job, or say why not; one that is sent again is the same job."""
        known = self._by_key.get(message.key)
        if known is not None:
            # Its client lost us before it heard that the job was accepted.
            self._forget_offer(peer, known.blobs)
            self.attach(peer, message.ticket, known.id)
            return
        spec, splits = message.spec, message.splits
        digests = {s.blob for s in splits if isinstance(s, MemorySplit) and s.blob}
        digests.add(spec.functions)
        refusal = self._admission.refusal(spec, digests, len(splits))
        if not refusal and message.extends:
            base = self._books.jobs.get(message.extends)
            refusal = no_extension(base, spec) if base else self.no_such_job(message.extends)
        refusal = refusal or self._chains.refusal(splits)
        self._forget_offer(peer, digests)
        if refusal:
            self._books.refuse(peer, message.ticket, refusal)
            self._drop(digests)
            return
        fact = JobTaken(
            job=JobId(f"j{self._books.jobs_seen + 1}"),
            number=self._books.jobs_seen + 1,
            spec=spec,
            splits=splits,
            blobs=tuple(sorted(digests)),
            key=message.key,
            extends=message.extends,
            at=now,
        )
        self._books.record(fact)
        job = self.take(fact, now)
        job.watchers[peer] = None
        self._books.say(Send(peer, Accepted(message.ticket, job.id)))
        ending = None if job.maps_left else self._attempts.maps_done(job, now)
        if ending is not None:
            self.end(ending, now)

    def take(self, fact: JobTaken, now: float) -> Job:
        """Put down a job that was accepted, also one that the journal knows."""
        self._books.jobs_seen = fact.number
        base = self._books.jobs.get(fact.extends) if fact.extends and not fact.whole else None
        job = planned(fact, base, self._books.stores, now)
        self._books.jobs[job.id] = self._books.running[job.id] = job
        if job.key:
            self._by_key[job.key] = job
        folds = folds_of(job.spec)
        self._books.publish(
            public.JobAccepted(
                at=fact.at,
                job=job.id,
                name=job.spec.name,
                maps=len(job.maps),
                reduces=len(job.reduces),
                input_bytes=sum(task.input_bytes for task in job.maps),
                functions=job.spec.functions_label,
                top=told_by(folds.map),
                builtin=folds.reduce is not None,
            )
        )
        for task in job.maps:
            if task.finished is not None and task.holder is not None:
                self._books.publish(done_event(job, task.finished, task.holder, fact.at))
        return job

    def _forget_offer(self, peer: PeerId, digests: Iterable[str]) -> None:
        """What was sent for a job to come is that job's now, or nobody's."""
        offered = self._offered.get(peer)
        if offered is not None:
            offered.subtract(digests)
            self._offered[peer] = +offered

    def attach(self, peer: PeerId, ticket: int, job_id: JobId) -> None:
        """Tell a client what a job printed, and how it ends."""
        job = self._books.jobs.get(job_id)
        if job is None:
            self._books.refuse(peer, ticket, self.no_such_job(job_id))
            return
        lost = [task for task in job.result_tasks if job.delivered and self._books.is_lost(task)]
        if lost:
            self._books.refuse(
                peer,
                ticket,
                f"the result of {job_id} was delivered, and what this cluster kept of it died with "
                f"{lost[0].holder}: run the job again",
            )
            return
        self._books.say(Send(peer, Accepted(ticket, job_id)))
        for line in job.printed:
            self._books.say(Send(peer, line))
        if job.state is JobState.RUNNING:
            job.watchers[peer] = None
        else:
            if job.result_bytes:
                job.readers.add(peer)
            self._books.say(Send(peer, self._ended(job)))

    def release(self, peer: PeerId, job_id: JobId, runs_only: bool, now: float) -> None:
        """A client needs a job's map output, or all of it, no more."""
        job = self._books.jobs.get(job_id)
        if job is None:
            return
        job.readers.discard(peer)
        extended = any(other.extends == job.id for other in self._books.running.values())
        if extended or (not runs_only and self._chains.is_read(job.id)):
            job.release = runs_only  # as soon as who reads its map output, or result, is through
            return
        if job.state is JobState.RUNNING:
            if runs_only and job.ended_at is None:
                return
            job.watchers.pop(peer, None)
            if job.watchers:
                return
            # What runs is for nobody: the result was not wanted, or it was lost here right after
            # its client had it.
            self.end(Ending(job, JobTrigger.CANCELLED, "its result was released"), now)
        if runs_only:
            self._let_go(job, runs_only=job.state is JobState.DONE)
            self._forget_oldest(now)
        else:
            self._forget(job, now)

    def _let_go(self, job: Job, *, runs_only: bool, forget: bool = False) -> None:
        """No task of the job runs again: workers may delete what for, and all of it if so said."""
        self._books.record(JobLetGo(job.id, runs_only))
        gone = self.let_go(job, forget=forget)
        # Who keeps files of it may never have been told of it: it was another worker then.
        holders = {task.holder for task in job.tasks.values()} - {None}
        stores = [self._books.stores.get(holder) for holder in holders if holder]
        keepers = {store.keeper for store in stores if store is not None}
        for worker in self._books.workers.values():
            held = tuple(digest for digest in gone if digest in worker.blobs)
            worker.blobs.difference_update(held)
            if held or job.id in worker.jobs | worker.may_hold or worker in keepers:
                # What its tasks printed stays as long as the job is known.
                keep_logs = not (runs_only or forget)
                self._books.say(Send(worker.peer, Forget(job.id, held, runs_only, keep_logs)))
                if keep_logs:
                    worker.may_hold.add(job.id)
            if not runs_only:
                worker.jobs.discard(job.id)
            if forget:
                worker.may_hold.discard(job.id)
        self._stores.tidy()

    def let_go(self, job: Job, *, forget: bool = False) -> list[str]:
        """Put down that no task of a job runs again; return the blobs that nobody needs now.

        Args:
            forget: its functions go too. Otherwise they stay: whoever debugs it asks for them.
        """
        job.delivered = True
        for task in job.maps:
            if task.output is not None and task.output.data is not None:
                task.output = replace(task.output, data=None, sizes=())
            if task.output is not None and task.finished is not None:
                # Its counters and bad records are still asked for, after a restart as well.
                task.finished = replace(task.finished, output=task.output)
        kept = frozenset() if forget else job.blobs & {job.spec.functions}
        blobs, job.blobs = job.blobs, kept
        return self._drop(blobs)

    def _drop(self, digests: Iterable[str]) -> list[str]:
        """Drop those blobs that no job needs, present or announced; return them."""
        needed = {digest for job in self._books.jobs.values() for digest in job.blobs}
        for offered in self._offered.values():
            needed.update(offered)
        gone = sorted(self._books.blobs.intersection(digests) - needed)
        self._books.blobs.difference_update(gone)
        for digest in gone:
            self._books.say(DropBlob(digest))
        return gone

    def miss(self, gone: Mapping[str, str], now: float) -> None:
        """Blobs are not there any more: what needs them fails, or cannot be made again.

        Args:
            gone: of each digest, what became of it: "blobs/12ab is damaged".
        """
        self._books.blobs.difference_update(gone)
        for job in list(self._books.jobs.values()):
            lost = sorted(job.blobs.intersection(gone))
            if not lost:
                continue
            job.blobs = job.blobs.difference(gone)
            what = "functions" if job.spec.functions in lost else "input"
            sentence = f"the manager has the {what} of {job.id} no more ({gone[lost[0]]})"
            if job.state is JobState.RUNNING:
                sentence += ": run the job again"
                failure = Failure(kind="environment", sentence=sentence)
                self.end(Ending(job, JobTrigger.TASK_FAILED, sentence, failure), now)
            elif job.state is JobState.DONE:
                sentence += ": its result is there, but what of it is lost cannot be made again"
                self._books.note(job.id, "warning", sentence, now)
                if not job.delivered:
                    self.release(PeerId(0), job.id, True, now)
            else:
                self._books.note(job.id, "warning", f"{sentence}: it cannot be debugged", now)

    def _forget_oldest(self, now: float) -> None:
        delivered = [
            job
            for job in self._books.jobs.values()
            if job.delivered and not self._chains.is_read(job.id)
        ]
        for job in delivered[: max(0, len(delivered) - ENDED_JOBS_KEPT)]:
            self._budget.forgotten(
                job.id,
                f"{job.id} is forgotten: of jobs that ended the last {ENDED_JOBS_KEPT} are known",
            )
            self._forget(job, now)

    def _keep_within_budget(self, ended: Job | None, now: float) -> None:
        """Delete results that nobody fetches where all take too much; say so before it comes."""
        if not any(job.result_bytes for job in self._books.jobs.values()):
            return  # as a rule: results are small, or copied
        read = frozenset(each for job in self._books.running.values() for each in job.reads)
        for job in self._budget.too_many(ended, read):
            said = self._budget.dropped(job)
            self._books.note(None, "warning", said, now)
            self._forget(job, now)
        if ended is not None and ended.result_bytes:
            warning = self._budget.warning(read)
            if warning:
                self._books.note(ended.id, "warning", warning, now)

    def _forget(self, job: Job, now: float) -> None:
        self._let_go(job, runs_only=False, forget=True)
        self._books.record(JobGone(job.id))
        self.forget(job, now)
        self._stores.tidy()  # its parts, too, are nobody's now

    def forget(self, job: Job, now: float) -> None:
        """Put down that nothing is known of a job any more."""
        del self._books.jobs[job.id]
        self._by_key.pop(job.key, None)
        self._drop(job.blobs)
        self._books.publish(public.JobForgotten(at=now, job=job.id))

    def printed(self, worker: Worker, message: Printed, now: float) -> None:
        """Pass on, and keep, what a task printed."""
        job = self._books.jobs.get(message.job)
        if job is None:
            return
        worker.store.logs.add(job.id)
        line = JobPrinted(job.id, message.task, worker.id, message.text, message.dropped)
        if job.printed_characters < PRINTED_KEPT:
            job.printed.append(line)
            job.printed_characters += len(line.text)
        else:
            # Who attaches later is told how much there was, at the end of what is kept.
            last = job.printed[-1]
            more = len(line.text) + line.dropped
            job.printed[-1] = replace(last, dropped=last.dropped + more)
        for peer in job.watchers:
            self._books.say(Send(peer, line))
        self._books.publish(
            public.Printed(
                at=now,
                job=job.id,
                task=message.task,
                worker=worker.id,
                text=message.text,
                dropped=message.dropped,
            )
        )

    def end(self, ending: Ending, now: float) -> None:
        """Close a job: stop what runs for it, tell who waits, keep its result if it has one."""
        job = ending.job
        if job.id not in self._books.running:
            return  # two things of one turn ended it
        for task in job.tasks.values():
            for attempt in list(task.running):
                self._attempts.cancel_attempt(job, task, attempt, now)
        self.close(job, ending.trigger, ending.sentence, ending.failure, now)
        ended = self._ended(job)
        self._books.record(JobOver(job.id, ended.outcome, ending.sentence, ending.failure, now))
        for peer in job.watchers:
            self._books.say(Send(peer, ended))
        if job.state is JobState.DONE:
            if job.result_bytes:
                job.readers.update(job.watchers)
                self._keep_within_budget(job, now)
        else:
            self._let_go(job, runs_only=False)
            self._forget_oldest(now)
        for reader in list(self._books.running.values()):
            broken = self._chains.broken(reader) if job.id in reader.reads else None
            if broken is not None:
                self.end(broken, now)
        for base_id in sorted({job.extends, *job.reads}):
            base = self._books.jobs.get(base_id)
            if base is not None and base.release is not None:
                runs_only, base.release = base.release, None
                self.release(PeerId(0), base.id, runs_only, now)

    def close(
        self, job: Job, trigger: JobTrigger, sentence: str, failure: Failure | None, now: float
    ) -> None:
        """Put down that a job ended, also of one that the journal knows."""
        advance(job, JOB_TRANSITIONS, trigger, now, sentence)
        del self._books.running[job.id]
        job.ended_at, job.sentence, job.failure = now, sentence, failure
        if job.state is JobState.DONE:
            files = [task.part for task in job.result_tasks if task.part_in_file]
            job.result_bytes = sum(part.nbytes for part in files if part is not None)
        job.fresh.clear()
        for task in job.tasks.values():
            if task.state is TaskState.RUNNING:
                # It may be wanted again: the result of a job that is done can still be lost.
                self._attempts.requeue(job, task, now, "the job ended")
        outcome = OUTCOMES[job.state]
        self._books.publish(public.JobEnded(at=now, job=job.id, outcome=outcome, sentence=sentence))

    def _ended(self, job: Job) -> Ended:
        parts: list[PartPlace] = []
        counters: dict[str, int] = {}
        if job.state is JobState.DONE:
            for task in job.tasks.values():
                for name, n in task.counters.items():
                    counters[name] = counters.get(name, 0) + n
            for task in job.result_tasks:
                place = self._outputs.place(task)
                if place is not None:
                    parts.append(place)
        assert job.ended_at is not None
        return Ended(
            job=job.id,
            name=job.spec.name,
            outcome=OUTCOMES[job.state],
            sentence=job.sentence,
            seconds=job.ended_at - job.started_at,
            failure=job.failure,
            parts=tuple(parts),
            counters=counters,
            map_only=job.map_only,
            bad=tuple(record for task in job.maps for record in task.bad),
        )

    def stores(self, peer: PeerId, ticket: int, job_id: JobId) -> None:
        """Say where the files of a job may lie."""
        if job_id not in self._books.jobs:
            self._books.refuse(peer, ticket, self.no_such_job(job_id))
        else:
            self._books.say(Send(peer, StorePlaces(ticket, self._stores.places())))

    def functions(self, peer: PeerId, ticket: int, job_id: JobId) -> None:
        """Send the functions of a job to who debugs it."""
        job = self._books.jobs.get(job_id)
        if job is None:
            self._books.refuse(peer, ticket, self.no_such_job(job_id))
        elif job.spec.functions not in job.blobs:
            self._books.refuse(peer, ticket, f"the functions of {job_id} are not kept any more")
        else:
            self._books.say(SendFunctions(peer, ticket, job.spec.functions))

    def no_such_job(self, job_id: JobId) -> str:
        """Say that there is none of that name, and which there are."""
        gone = self._budget.why_gone(job_id)
        if gone:
            return gone
        known = ", ".join(self._books.jobs) or "none"
        return f"there is no job {job_id!r} here; jobs I know: {known}"
