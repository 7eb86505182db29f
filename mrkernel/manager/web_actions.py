"""What can be done from the web page: cancel a job; add, retire or kill a worker.

An action is a POST to ``/actions`` of one JSON object, ``{"act": "cancel", "job": "j1"}``; what was
done, or why not, comes back as ``{"sentence": ...}``. Workers are added, retired and killed only
where somebody starts them anew, as in a cluster inside a notebook: whom nobody replaces is ended by
who started it.
"""

from __future__ import annotations

import msgspec

from mrkernel.ids import JobId, WorkerId
from mrkernel.manager.records import Worker
from mrkernel.manager.transitions import JobState
from mrkernel.manager.web_desk import Desk, Supervisor
from mrkernel.manager.web_handler import Guarded, Refusal, no_such_job
from mrkernel.manager.web_reader import ask, tell
from mrkernel.protocol.client_messages import (
    Agreed,
    CancelJob,
    DisturbWorker,
    Refused,
    RetireWorker,
)

#: A header that no page of somebody else's can send unless we agree, which we never do.
ACTION_HEADER = "X-MRKernel-Action"


class _Action(msgspec.Struct, tag_field="act", forbid_unknown_fields=True):
    """Anything that can be done."""


class Cancel(_Action, tag="cancel"):
    """Stop a job everywhere."""

    job: str


class AddWorker(_Action, tag="add-worker"):
    """Start one more worker, of one slot."""


class Retire(_Action, tag="retire"):
    """Give a worker no new work, and end it when it has none left."""

    worker: str


class Kill(_Action, tag="kill"):
    """Kill a worker server with SIGKILL."""

    worker: str
    confirm: bool = False  #: somebody was asked, and said yes


_decoder = msgspec.json.Decoder(Cancel | AddWorker | Retire | Kill)


def offered(desk: Desk) -> tuple[str, ...]:
    """What can be done here, by the names that the browser knows."""
    return ("cancel", *(("add-worker", "retire", "kill") if desk.supervisor else ()))


class Actions(Guarded):
    """Does what is asked for."""

    refuses_in = "json"

    async def post(self) -> None:
        """Do one thing.

        Raises:
            Refusal: it is not done.
            ClusterError: the manager, or who starts its workers, does not answer.
        """
        self.require_origin()
        if ACTION_HEADER not in self.request.headers:
            raise Refusal(
                403, f"An action needs the header {ACTION_HEADER}: use the page's button."
            )
        try:
            action = _decoder.decode(self.request.body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Refusal(400, f"This is no action ({error}): use the page's button.") from error
        match action:
            case Cancel(job):
                sentence = self._cancel(JobId(job))
            case AddWorker():
                self._supervisor.add_worker(1)
                sentence = "One more worker is started: it joins in a moment."
            case Retire(worker):
                sentence = await self._retire(worker)
            case Kill(worker, confirm):
                sentence = await self._kill(worker, confirm=confirm)
        self.write_json({"sentence": sentence})

    def _cancel(self, job_id: JobId) -> str:
        manager = self.desk.manager
        job = manager.state.jobs.get(job_id)
        if job is None:
            raise no_such_job(job_id)
        if job.state is not JobState.RUNNING:
            raise Refusal(409, f"Job {job_id} has ended already: {job.state.value}.")
        tell(manager, CancelJob(job_id))
        return f"Job {job_id} is cancelled."

    async def _retire(self, name: str) -> str:
        supervisor, worker = self._supervisor, self._worker(name)
        workers = self.desk.manager.state.workers.values()
        if not any(not other.retiring for other in workers if other is not worker):
            raise Refusal(409, f"{name} is the last worker: add one before it goes.")
        supervisor.let_go(worker.info.pid)  # first: an idle one goes at once
        answer = await ask(self.desk.manager, RetireWorker(1, worker.id), Agreed)
        if isinstance(answer, Refused):
            raise Refusal(409, f"{answer.sentence}.")
        return f"{name} gets no new work, and goes when it has none left."

    async def _kill(self, name: str, *, confirm: bool) -> str:
        supervisor, worker = self._supervisor, self._worker(name)
        if not confirm:
            raise Refusal(400, f"Say that {name} is really to be killed: confirm.")
        answer = await ask(self.desk.manager, DisturbWorker(1, worker.id, "kill"), Agreed)
        if isinstance(answer, Refused):
            raise Refusal(409, f"{answer.sentence}.")
        supervisor.kill(worker.info.pid)  # one that is frozen does not hear what it is told
        return f"{name} is killed."

    @property
    def _supervisor(self) -> Supervisor:
        if self.desk.supervisor is None:
            raise Refusal(
                403,
                "Nobody starts this cluster's workers anew: start one with `mrkernel worker`, end "
                "one where it was started.",
            )
        return self.desk.supervisor

    def _worker(self, name: str) -> Worker:
        workers = self.desk.manager.state.workers
        if WorkerId(name) not in workers:
            living = ", ".join(workers) or "none"
            raise Refusal(409, f"No worker {name} lives here: living are {living}.")
        return workers[WorkerId(name)]
