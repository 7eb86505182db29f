"""What a client asked its manager and has no answer to yet."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from mrkernel.engines.link import Link
from mrkernel.errors import JobSpecError, ManagerUnreachableError, MRKernelError
from mrkernel.protocol.client_messages import Refused
from mrkernel.protocol.messages import Message

#: Seconds a manager that is there gets to answer a question.
ANSWER_S = 30.0

Frames = Sequence[Sequence[Message]]


def alone(question: Message) -> Frames:
    """The frames of a question that nothing comes along with."""
    return [[question]]


class Questions:
    """Questions by ticket, asked over a link: again when the manager was restarted.

    Args:
        label: whom we ask, for people.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[Future[Any], Message]] = {}

    def ticket(self) -> int:
        """A number that no question has."""
        return next(self._numbers)

    def ask(
        self,
        link: Link,
        make: Callable[[int], Message],
        frames: Callable[[Message], Frames] = alone,
        abandoned: Callable[[Future[Any]], None] | None = None,
    ) -> Future[Any]:
        """Ask, now or when the manager is back.

        Args:
            make: the question, of its ticket.
            frames: what to send, the question last.
            abandoned: gets the future when it is settled, if an interrupt comes while we speak.

        Raises:
            ManagerUnreachableError: the manager is gone for good.
        """
        future: Future[Any] = Future()
        ticket = self.ticket()
        question = make(ticket)
        with self._lock:
            self._waiting[ticket] = future, question
        if link.closed:
            raise ManagerUnreachableError(f"{self._label} is gone: start a new one")
        try:
            link.ask(ticket, frames(question))
        except KeyboardInterrupt:
            if abandoned is not None:
                future.add_done_callback(abandoned)
            raise
        return future

    def answer(
        self, link: Link, future: Future[Any], error: type[MRKernelError] = JobSpecError
    ) -> Any:
        """Wait for the answer; while the manager is away, for the manager.

        Raises:
            MRKernelError: of the kind ``error``, when the manager refuses.
            ManagerUnreachableError: it is there and says nothing, or is gone for good.
        """
        asked = time.monotonic()
        while True:
            try:
                answer = future.result(ANSWER_S)
                break
            except TimeoutError:
                since = link.since
                if since is not None and time.monotonic() - max(since, asked) >= ANSWER_S:
                    raise ManagerUnreachableError(
                        f"{self._label} gave no answer for {ANSWER_S:.0f} s"
                    ) from None
        if isinstance(answer, Refused):
            raise error(answer.sentence)
        return answer

    def open(self) -> list[tuple[int, Message]]:
        """The questions without an answer, by ticket."""
        with self._lock:
            return [(ticket, question) for ticket, (_, question) in self._waiting.items()]

    def question(self, ticket: int) -> Message | None:
        """The question of a ticket; None when nobody waits for its answer."""
        with self._lock:
            found = self._waiting.get(ticket)
        return None if found is None else found[1]

    def settle(self, link: Link, ticket: int, answer: Any) -> None:
        """Give whoever asked the answer; an error is raised there."""
        link.answered(ticket)
        with self._lock:
            future, _ = self._waiting.pop(ticket, (None, None))
        if future is None:
            return
        if isinstance(answer, MRKernelError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
