"""
Repositories checked out into the workspace, by git, as the agent.

What is fetched is somebody else's, and it is data until somebody uses it: no hook runs (neither of a template nor of
a configuration), submodules are left alone, only https is spoken, nobody is asked for a password, and no
configuration but git's own defaults counts. It becomes the directory that was named when it is whole.
"""

import json
import re
import secrets
from urllib.parse import SplitResult, urlsplit

from sandboxd import paths
from sandboxd.commands import TIMED_OUT, Command, Commands, Program
from sandboxd.errors import CheckoutFailedError, InvalidRequestError, PathConflictError
from sandboxd.files import Files
from sandboxd.orders import CheckedOut, Checkout

SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
THERE_ALREADY = 97
LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))
ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_HTTP_LOW_SPEED_LIMIT": "1",
    "GIT_HTTP_LOW_SPEED_TIME": "20",
    "LC_ALL": "C",
}
# Every value comes by the environment; none is part of the script.
SCRIPT = """
set -eu
trap 'rm -rf -- "./$PART"' EXIT
there() {
  [ -L "./$NAME" ] || { [ -e "./$NAME" ] && { [ ! -d "./$NAME" ] || [ -n "$(ls -A -- "./$NAME")" ]; }; }
}
safe() {
  git -c core.hooksPath=/dev/null -c credential.helper= -c protocol.ext.allow=never -c protocol.file.allow=never \\
    -c submodule.recurse=false -c core.fsmonitor=false -c advice.detachedHead=false -c gc.auto=0 "$@"
}
if there; then exit 97; fi
set -- --quiet --template= --no-recurse-submodules ${DEPTH:+--depth="$DEPTH"}
if [ -n "$SHA" ]; then
  safe clone "$@" --no-checkout -- "$URL" "./$PART" >&2
  safe -C "./$PART" fetch --quiet --no-recurse-submodules ${DEPTH:+--depth="$DEPTH"} -- origin "$SHA" >&2
  safe -C "./$PART" checkout --quiet --detach "$SHA" -- >&2
else
  safe clone "$@" ${REF:+--branch="$REF"} -- "$URL" "./$PART" >&2
fi
commit=$(safe -C "./$PART" rev-parse --verify 'HEAD^{commit}')
if there; then exit 97; fi
mv -T -- "./$PART" "./$NAME" >&2 || exit 97
printf '{"commit": "%s", "path": %s}\\n' "$commit" "$PATH_AS_JSON"
"""
REASONS = tuple(
    (reason, re.compile(sign, re.IGNORECASE))
    for reason, sign in (
        ("ref_not_found", "remote branch .* not found|couldn't find remote ref|not our ref|needed a single revision"),
        ("access_denied", "authentication failed|could not read username|prompts disabled|error: 40[13]"),
        ("not_found", "repository .* not found|error: 404|does not appear to be a git"),
        ("no_space", "no space left"),
        ("unreachable", "unable to access|could not resolve|failed to connect|early eof|hung up"),
    )
)
"""Why git fails, by what it says; only the word is told on."""


class Checkouts:
    """Has git do it. *http*: of a repository at a loopback address, plain http will do (for tests)."""

    def __init__(self, *, files: Files, commands: Commands, http: bool) -> None:
        self._files = files
        self._commands = commands
        self._http = http

    async def run(self, order: Checkout) -> CheckedOut:
        """
        Check out, and return when that is done.

        Raises:
            InvalidRequestError: nothing may be fetched from there.
            PathConflictError: there is something where it should be.
            CheckoutFailedError: git failed, or took too long.
        """
        command = await self._commands.run(await self._prepare(order))
        return _outcome(command)

    async def start(self, order: Checkout, exec_id: str) -> Command:
        """
        Begin to, as a command that can be looked at; what it prints in the end is a ``CheckedOut``.

        Raises:
            As ``run``, but for what git does.
        """
        return self._commands.start(await self._prepare(order), exec_id)

    async def _prepare(self, order: Checkout) -> Program:
        url = self._url(order.url)
        target = order.target_dir or _name_of(url)
        *above, name = paths.parse(target)
        await self._files.make_directory("/".join(above))
        whole = order.ref is not None and SHA.fullmatch(order.ref) is not None
        return Program(
            argv=("/bin/sh", "-c", SCRIPT),
            env={
                **ENVIRONMENT,
                "GIT_ALLOW_PROTOCOL": url.scheme,
                "URL": url.geturl(),
                "SHA": order.ref or "" if whole else "",
                "REF": "" if whole else order.ref or "",
                "DEPTH": str(order.depth or ""),
                "NAME": name,
                "PART": f".{secrets.token_hex(8)}.part",
                "PATH_AS_JSON": json.dumps(target),
            },
            cwd=above,
            timeout=order.timeout_seconds,
        )

    def _url(self, text: str) -> SplitResult:
        try:
            url = urlsplit(text)
            host, _ = url.hostname, url.port
        except ValueError:
            raise InvalidRequestError("this is no URL") from None
        plain = self._http and url.scheme == "http" and host in LOOPBACK
        if not host or not text.isprintable() or not text.isascii() or " " in text:
            raise InvalidRequestError("this is no URL")
        if url.scheme != "https" and not plain:
            raise InvalidRequestError("only https is spoken")
        if "@" in url.netloc:
            raise InvalidRequestError("a URL must not hold credentials")
        return url


def _name_of(url: SplitResult) -> str:
    name = url.path.rstrip("/").rpartition("/")[2].removesuffix(".git")
    if not NAME.fullmatch(name):
        raise InvalidRequestError("a target_dir is needed")
    return name


def _outcome(command: Command) -> CheckedOut:
    if command.exit_code == 0:
        return CheckedOut.model_validate_json(command.stdout.tail(2**16)[0])
    if command.exit_code == THERE_ALREADY:
        raise PathConflictError("there is something in the target directory")
    if command.exit_code == TIMED_OUT:
        raise CheckoutFailedError("timed_out")
    said, _ = command.stderr.tail(2**16)
    raise CheckoutFailedError(next((reason for reason, sign in REASONS if sign.search(said)), "failed"))
