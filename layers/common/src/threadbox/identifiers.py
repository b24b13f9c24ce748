"""Thread ids, and the names that AWS things get instead of them."""

import hashlib
from typing import Annotated

from pydantic import StringConstraints

ThreadId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


def thread_hash(thread_id: str) -> str:
    """Return 32 hex digits that stand for the thread where names are short or public: client tokens, tags, metrics."""
    return hashlib.sha256(thread_id.encode()).hexdigest()[:32]
