"""
One logger for everything: data in fields, never a token, prompt or header.

What belongs together has one correlation id, in whichever function and sandbox it happens: each handler sets it, calls
to other functions and to sandboxes carry it on.
"""

from aws_lambda_powertools import Logger

logger = Logger()

CORRELATION_HEADER = "X-Correlation-Id"


def correlate(correlation_id: str | None) -> None:
    """Have every line of this invocation bear *correlation_id*."""
    logger.set_correlation_id(correlation_id)


def correlation() -> str | None:
    """Return the correlation id of this invocation, if it has one."""
    return logger.get_correlation_id()


def correlation_headers() -> dict[str, str]:
    """Return what carries it on to a sandbox."""
    known = correlation()
    return {CORRELATION_HEADER: known} if known else {}
