"""``make token``: what the web app's backend does, a session token for one user of one thread."""

import json
import time
from collections.abc import Mapping

import jwt

from local.stack.aws_clients import client
from local.stack.stack_file import StackFile

LONGEST_SECONDS = 900


def session_token(file: StackFile, *, thread: str, user: str, ttl: int) -> str:
    """A token that is good for *ttl* seconds."""
    secrets = client("secretsmanager", file.aws_url)
    secret = json.loads(secrets.get_secret_value(SecretId=file.outputs["SessionSecretArn"])["SecretString"])
    return signed(secret, thread=thread, user=user, ttl=ttl)


def signed(secret: Mapping[str, str], *, thread: str, user: str, ttl: int) -> str:
    """A token signed with what the secret holds, ``{"kid", "key"}``."""
    now = int(time.time())
    claims = {"aud": "threadbox", "thread_id": thread, "user_id": user, "iat": now, "exp": now + ttl}
    return jwt.encode(claims, secret["key"], algorithm="HS256", headers={"kid": secret["kid"]})
