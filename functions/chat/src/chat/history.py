"""Reading a thread's history: for the page that shows it, and as an export."""

from collections.abc import Iterator
from dataclasses import dataclass

from chat.export import Export, Lines
from chat.messages import MessageStore, StoredMessage
from chat.shortening import escaped_size, fitting
from threadbox.errors import NotFoundError
from threadbox.sessions import SessionVerifier
from threadbox.threads import ThreadStore

# A function's answer may have 6 MB. It is text in JSON, so that what has to be escaped in it counts twice and more.
ANSWER_SIZE = 5_500_000


@dataclass(frozen=True, slots=True)
class Page:
    """The JSON array of messages, oldest first; ``before`` is the first of them, if older ones were left out."""

    body: str
    before: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryService:
    """What the HTTP routes of chat do, for answers of *answer_size* bytes at most."""

    sessions: SessionVerifier
    threads: ThreadStore
    store: MessageStore
    export_of: Export
    answer_size: int = ANSWER_SIZE

    def messages(self, thread_id: str, *, token: str, before: str | None = None) -> Page:
        """
        Return the thread's messages, or those older than the user's message with the id *before*.

        What does not fit into an answer is left out, the oldest first; a page always begins with a user's message. A
        single message that is too large is shortened.

        Raises:
            UnauthorizedError, ForbiddenError: the token is not good for this thread.
            NotFoundError: there is no such message.
            HistoryUnavailableError: a body cannot be read.
        """
        self._enter(thread_id, token)
        number = None
        if before is not None:
            number = self.store.seq_of(thread_id, before)
            if number is None:
                raise NotFoundError("There is no such message.")
        return self._page(self.store.newest_first(thread_id, before=number))

    def export(self, thread_id: str, *, token: str, after: str | None = None) -> Lines:
        """
        Return everything that is kept of the thread's conversation, as lines of JSON, or what follows *after*.

        Raises:
            UnauthorizedError, ForbiddenError: the token is not good for this thread.
            InvalidRequestError: *after* is no place in an export.
            HistoryUnavailableError: a body cannot be read.
        """
        user_id = self._enter(thread_id, token)
        return self.export_of.lines(thread_id, user_id=user_id, after=after, size=self.answer_size)

    def _enter(self, thread_id: str, token: str) -> str:
        session = self.sessions.verify(token, thread_id=thread_id)
        self.threads.claim(thread_id, user_id=session.user_id)
        return session.user_id

    def _page(self, newest_first: Iterator[StoredMessage]) -> Page:
        """Take questions with their answers, as long as they fit."""
        taken: list[str] = []
        answer: list[str] = []
        first = None
        room = self.answer_size
        for stored in newest_first:
            body = self.store.body(stored.item)
            if escaped_size(body) > self.answer_size // 2:
                body = fitting(body, self.answer_size // 2)
            room -= escaped_size(body)
            if room < 0:
                return Page(_array(taken), before=first)
            answer.append(body)
            if stored.request_id:
                taken += answer
                answer, first = [], stored.message_id
        return Page(_array(taken + answer), before=None)


def _array(newest_first: list[str]) -> str:
    return f"[{','.join(reversed(newest_first))}]"
