"""Reading a thread's history."""

from dataclasses import dataclass

from chat.messages import MessageStore, UIMessage
from threadbox.sessions import SessionVerifier
from threadbox.threads import ThreadStore


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryService:
    """What the HTTP routes of chat do."""

    sessions: SessionVerifier
    threads: ThreadStore
    store: MessageStore

    def messages(self, thread_id: str, *, token: str) -> list[UIMessage]:
        """
        Return the thread's messages, oldest first.

        Raises:
            UnauthorizedError, ForbiddenError: the token is not good for this thread.
        """
        session = self.sessions.verify(token, thread_id=thread_id)
        self.threads.claim(thread_id, user_id=session.user_id)
        return self.store.list(thread_id)
