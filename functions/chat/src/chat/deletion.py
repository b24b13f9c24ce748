"""Deleting a thread: everything of it is gone, and nobody who is still connected can bring any of it back."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chat.bodies import BodyStore
from chat.claims import running_key
from threadbox.audit import AuditTrail
from threadbox.control import SandboxControlClient
from threadbox.identifiers import thread_hash
from threadbox.queries import pages, partition
from threadbox.sessions import SessionVerifier
from threadbox.sockets import ConnectionsClient, SocketStore
from threadbox.telemetry import logger
from threadbox.threads import ThreadStore, hash_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

# What the sort keys of a thread's items begin with, and what they are called in the answer.
KINDS = {"MSG": "messages", "TURN": "turns", "SANDBOX": "sandboxes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadDeletion:
    """Deletes threads."""

    table: "Table"
    bodies: BodyStore
    sessions: SessionVerifier
    threads: ThreadStore
    sockets: SocketStore
    connections: ConnectionsClient
    control: SandboxControlClient
    audit: AuditTrail

    def delete(self, thread_id: str, *, token: str) -> dict[str, int]:
        """
        Delete the thread and return how many of each kind of thing were removed; again, it returns zeros.

        What is kept of its sandboxes goes first, as one that runs has to be told to save nothing more while it can be
        told; then the sandbox is stopped, then the grant taken back, at its provider too: as long as one of them fails
        nothing else is removed, and trying again is enough.

        Raises:
            UnauthorizedError, ForbiddenError: the token is not good for this thread.
            ConflictError: its sandbox is only just being started.
            SandboxUnavailableError: its sandbox cannot be stopped just now.
            OpenCodeError: its sandbox does not let go of the grant, or would go on saving.
            HistoryUnavailableError: the bodies of its messages cannot be deleted just now.
        """
        session = self.sessions.verify(token, thread_id=thread_id)
        self.threads.claim(thread_id, user_id=session.user_id)
        self.audit.record("thread_deleted", thread_id=thread_id, user_id=session.user_id)
        memory = self.control.forget(thread_id)
        self.control.stop(thread_id)
        grants = int(self.control.disconnect(thread_id))
        sockets = self.sockets.list(thread_id)
        for socket in sockets:
            self.sockets.delete(thread_id, socket.connection_id)
            self.connections.close(socket.connection_id)
        # While items name them: whoever tries again finds them all the same, but knows that there is something to do.
        bodies = self.bodies.delete_thread(thread_id)
        removed = {
            **self._delete_items(thread_id),
            "bodies": bodies,
            "sockets": len(sockets),
            "grants": grants,
            "memory": memory,
        }
        logger.info("thread deleted", thread_id=thread_id, removed=removed)
        return removed

    def _delete_items(self, thread_id: str) -> dict[str, int]:
        counts: Counter[str] = Counter(dict.fromkeys(KINDS.values(), 0))
        with self.table.batch_writer() as batch:
            batch.delete_item(Key=running_key(thread_id))
            batch.delete_item(Key=hash_key(thread_hash(thread_id)))
            for item in pages(self.table, partition(thread_id), projection="thread_id, sk"):
                sort_key = str(item["sk"])
                batch.delete_item(Key={"thread_id": thread_id, "sk": sort_key})
                kind = KINDS.get(sort_key.partition("#")[0])
                if kind is not None and sort_key != "TURN":
                    counts[kind] += 1
        return dict(counts)
