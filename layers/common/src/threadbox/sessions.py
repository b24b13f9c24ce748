"""Session tokens: who the web app says its user is, and for which thread (docs/connect.md)."""

from dataclasses import dataclass
from typing import Annotated

import jwt
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from threadbox.errors import ForbiddenError, UnauthorizedError
from threadbox.identifiers import ThreadId
from threadbox.secrets import JsonSecret

AUDIENCE = "threadbox"
LONGEST_LIFE = 900
CLOCK_SKEW = 5


class Session(BaseModel):
    """The claims of a verified token; times are epoch seconds."""

    model_config = ConfigDict(frozen=True, strict=True)

    thread_id: ThreadId
    user_id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    iat: int
    exp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionVerifier:
    """Verifies tokens with the current and the previous key of one secret (``{"kid", "key"}``)."""

    secret: JsonSecret

    def verify(self, token: str, *, thread_id: str, even_expired: bool = False) -> Session:
        """
        Return the session that *token* stands for; with *even_expired*, whoever calls sees to its end.

        Raises:
            UnauthorizedError: the token is missing, malformed, expired, too long-lived or signed by another key.
            ForbiddenError: it is valid, but for another thread.
        """
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            claims = jwt.decode(
                token,
                self._key(kid),
                algorithms=["HS256"],
                audience=AUDIENCE,
                leeway=CLOCK_SKEW,
                options={"require": ["aud", "iat", "exp"], "verify_exp": not even_expired},
            )
            session = Session.model_validate({name: claims.get(name) for name in Session.model_fields})
        except (jwt.PyJWTError, ValidationError) as exc:
            raise UnauthorizedError("The session token is missing, expired or not valid.") from exc
        if session.exp - session.iat > LONGEST_LIFE:
            raise UnauthorizedError("The session token lives longer than 15 minutes.")
        if session.thread_id != thread_id:
            raise ForbiddenError("The session token is for another thread.")
        return session

    def _key(self, kid: object) -> str:
        for value in (self.secret.current(), self.secret.previous()):
            if value is not None and value["kid"] == kid:
                return value["key"]
        raise jwt.InvalidKeyError("unknown kid")
