"""The local stack's commands. ``make`` calls them; ``--help`` tells the rest."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from local.stack.down import down
from local.stack.installs import CommandFailedError, installs, locked
from local.stack.layout import Layout
from local.stack.logs import logs
from local.stack.ports import PortsBusyError
from local.stack.processes import PartFailedError, Processes
from local.stack.session_token import LONGEST_SECONDS, session_token
from local.stack.settings import Settings
from local.stack.stack_file import StackFile
from local.stack.status import status
from local.stack.up import up

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it did what it promises."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            print(f"{str(problem['loc'][0]).upper()}: {problem['msg']}", file=sys.stderr)
        return 2
    layout = Layout.of(settings.threadbox_state)
    commands: dict[str, Callable[[], int]] = {
        "up": lambda: _up(layout, settings),
        "down": lambda: _down(layout),
        "status": lambda: 0 if status(layout, _say) else 1,
        "logs": lambda: 0 if logs(layout, _say, follow=options.follow) else 1,
        "token": lambda: _token(layout, options),
        "install": lambda: _install(layout, options.names),
    }
    try:
        return commands[options.command]()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # As in "make logs | head": nobody reads on, and Python must not try to write the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED


def _up(layout: Layout, settings: Settings) -> int:
    with locked(layout.state / "lock", waits=_say_it_waits):
        try:
            up(layout, settings, _say)
        except (CommandFailedError, PartFailedError, PortsBusyError, BotoCoreError, ClientError) as error:
            print(f"\nmake up failed: {error}", file=sys.stderr, flush=True)
            _leave(layout, code=1)
        except KeyboardInterrupt:
            print("\ninterrupted; the next make up goes on from here", file=sys.stderr, flush=True)
            _leave(layout, code=INTERRUPTED)
    return 0


def _install(layout: Layout, names: Sequence[str]) -> int:
    known = installs()
    try:
        for name in names or known:
            known[name].do(layout)
    except CommandFailedError as error:
        print(f"make failed: {error}", file=sys.stderr)
        return 1
    return 0


def _leave(layout: Layout, *, code: int) -> None:
    """End now, with the commands under way; threads that wait for them or for parts hold nothing worth waiting for."""
    Processes(layout).end_strays(of_this_command=True)
    os._exit(code)


def _down(layout: Layout) -> int:
    with locked(layout.state / "lock", waits=_say_it_waits):
        try:
            down(layout, _say)
        except PartFailedError as error:
            print(f"make down failed: {error}", file=sys.stderr)
            return 1
    return 0


def _token(layout: Layout, options: argparse.Namespace) -> int:
    file = StackFile.find(layout.stack_file)
    if file is None:
        print("The stack is not up.", file=sys.stderr)
        return 1
    print(session_token(file, thread=options.thread, user=options.user, ttl=options.ttl))
    return 0


def _say_it_waits() -> None:
    _say("waiting for another up or down of this stack")


def _say(text: str) -> None:
    print(text, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="local.stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start what is missing and print the page's address")
    commands.add_parser("down", help="stop everything")
    commands.add_parser("status", help="what runs where; exits with 1 when the stack is not up")
    shown = commands.add_parser("logs", help="logs of functions and sandboxes")
    shown.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    install = commands.add_parser("install", help="install what up installs, or some of it")
    install.add_argument("names", nargs="*", choices=[*installs(), []], metavar="NAME", help=", ".join(installs()))
    token = commands.add_parser("token", help="print a session token, nothing else")
    token.add_argument("--thread", required=True)
    token.add_argument("--user", required=True)
    token.add_argument("--ttl", type=_ttl, default=LONGEST_SECONDS, help="seconds, at most 900 (default)")
    return parser


def _ttl(text: str) -> int:
    seconds = int(text)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be 1 to {LONGEST_SECONDS}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
