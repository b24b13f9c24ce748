"""
Device codes (as RFC 8628 has them): asked for by a program, decided by a user on another page, redeemed by the program.

    pending ─▶ approved ─▶ redeemed
       ├─────▶ denied
       └─────▶ expired, whatever it was, when its time is over
"""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from local.idp.errors import AccessDeniedError, AuthorizationPendingError, ExpiredTokenError

LIFE_SECONDS = 15 * 60
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no code is a word (RFC 8628, 6.1)."""
DIGITS = "0123456789"

Status = Literal["pending", "approved", "denied", "redeemed"]


class UnknownUserCodeError(Exception):
    """Nobody was given that code, or its time is over."""


class AlreadyDecidedError(Exception):
    """The code was approved or denied before, and not in this way."""


@dataclass(slots=True, kw_only=True)
class DeviceCode:
    """One of them."""

    device_auth_id: str
    user_code: str
    client_id: str
    expires_at: float
    status: Status = "pending"
    account_id: str | None = None
    """Who approved it."""


class DeviceCodes:
    """All of them, by what the program and what the user knows."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._by_user_code: dict[str, DeviceCode] = {}

    def issue(self, client_id: str) -> DeviceCode:
        """A new one."""
        left, right = ("".join(secrets.choice(letters) for _ in range(4)) for letters in (LETTERS, DIGITS))
        code = DeviceCode(
            device_auth_id=f"deviceauth_{secrets.token_urlsafe(24)}",
            user_code=f"{left}-{right}",
            client_id=client_id,
            expires_at=self._now() + LIFE_SECONDS,
        )
        self._by_user_code[normalized(code.user_code)] = code
        return code

    def pending(self) -> Iterable[DeviceCode]:
        """Those that wait for a decision, newest first."""
        codes = reversed(self._by_user_code.values())
        return (code for code in codes if code.status == "pending" and code.expires_at > self._now())

    def approve(self, user_code: str, *, account_id: str) -> DeviceCode:
        """
        Let the program have what it asked for, in the name of that account; a second time changes nothing.

        Raises:
            UnknownUserCodeError, AlreadyDecidedError.

        """
        code = self._decide(user_code, "approved")
        if code.status == "pending":
            code.status, code.account_id = "approved", account_id
        elif code.account_id != account_id:
            raise AlreadyDecidedError("Another account has approved this code.")
        return code

    def deny(self, user_code: str) -> DeviceCode:
        """
        Refuse it; a second time changes nothing.

        Raises:
            UnknownUserCodeError, AlreadyDecidedError.

        """
        code = self._decide(user_code, "denied")
        code.status = "denied"
        return code

    def redeem(self, device_auth_id: str, user_code: str) -> DeviceCode:
        """
        What the program gets when it polls: the approved code, once.

        Raises:
            AuthorizationPendingError, AccessDeniedError, ExpiredTokenError.

        """
        code = self._by_user_code.get(normalized(user_code))
        if code is None or not secrets.compare_digest(code.device_auth_id.encode(), device_auth_id.encode()):
            raise ExpiredTokenError("There is no such device code.")
        if code.expires_at <= self._now() or code.status == "redeemed":
            raise ExpiredTokenError("The device code has expired.")
        if code.status == "denied":
            raise AccessDeniedError("The user denied the request.")
        if code.status == "pending":
            raise AuthorizationPendingError("The user has not approved the request yet.")
        code.status = "redeemed"
        return code

    def _decide(self, user_code: str, decision: Status) -> DeviceCode:
        code = self._by_user_code.get(normalized(user_code))
        if code is None or code.expires_at <= self._now():
            raise UnknownUserCodeError("There is no such code, or its time is over.")
        same = {"approved": {"approved", "redeemed"}, "denied": {"denied"}}[decision]
        if code.status != "pending" and code.status not in same:
            raise AlreadyDecidedError(f"This code is already {code.status}.")
        return code


def normalized(user_code: str) -> str:
    """A code as people type it: in any case, with or without its dash."""
    return "".join(letter for letter in user_code.upper() if letter.isalnum())
