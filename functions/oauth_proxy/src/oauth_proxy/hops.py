"""Answers to a call that may wait no longer: go on at the same address (a *hop*), or come back later."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import Response
from fastapi.responses import JSONResponse

from threadbox.errors import AppError
from threadbox.preferences import Preferences

MOST_HOPS = 20
"""``fetch`` follows so many redirects of one call, and no more (measured, Chromium)."""
RETRY_AFTER = 3


def go_on(
    prefer: Preferences, *, hop: int, query: dict[str, str | int | None], told: dict[str, Any], late: AppError
) -> Response:
    """
    Return 202 with what is *told* to who prefers that, else 307 to the next hop with *query*.

    Raises:
        AppError: *late*, after the last hop.
    """
    if prefer.any:
        headers = {"Retry-After": str(RETRY_AFTER), "Preference-Applied": prefer.applied()}
        return JSONResponse({**told, "retry_after": RETRY_AFTER}, status_code=HTTPStatus.ACCEPTED, headers=headers)
    if hop >= MOST_HOPS:
        raise late
    said = {name: value for name, value in query.items() if value is not None}
    # Without the path: what stands before it in the address that was called is not known here.
    headers = {"Location": f"?{urlencode({**said, 'hop': hop + 1})}", "Cache-Control": "no-store"}
    return Response(status_code=HTTPStatus.TEMPORARY_REDIRECT, headers=headers)
