"""Thread ids, and the names that AWS things get instead of them."""

import hashlib
from typing import Annotated

from pydantic import StringConstraints

ThreadId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


def opaque_hash(name: str) -> str:
    """Return 32 hex digits that stand for *name* where names are short or public: tags, metrics, audit logs."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def thread_hash(thread_id: str) -> str:
    """Return what stands for the thread where names are short or public."""
    return opaque_hash(thread_id)
