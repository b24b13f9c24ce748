"""Local stacks for tests: the commands that bring one up and down, and where its files are."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local.stack.session_token import session_token
from local.stack.stack_file import StackFile

ROOT = Path(__file__).parents[1]
STATES = ROOT / ".local" / "test-stacks"
UP_SECONDS = 300
SETTINGS = ("MODEL_", "THREADBOX_", "SANDBOX_", "SANDBOXES_", "TURNS_", "CODEX_", "REAL_CODEX", "ANTHROPIC_", "OPENAI_")

# The shared stack's sign-ins take seconds where others take minutes, and its users do more than any would.
SCALED = {
    "CODEX_CALLBACK_TIMEOUT_SECONDS": "57",
    "CODEX_ABANDON_SECONDS": "20",
    "CODEX_HOP_SECONDS": "3",
    "SANDBOXES_PER_USER": "1000",
    "TURNS_PER_MINUTE": "10000",
}


def run_stack(
    *command: str, state: Path, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command of the local stack whose state is in that directory, with no setting but those given."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return subprocess.run(
        [sys.executable, "-m", "local.stack", *command],
        env=environment | {"THREADBOX_STATE": str(state)} | dict(settings or {}),
        cwd=ROOT, capture_output=True, text=True, timeout=UP_SECONDS, check=False,
    )  # fmt: skip


@contextmanager
def own_stack(state: Path, settings: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Bring up a stack whose state is in that directory, and down in the end, however that went."""
    try:
        done = run_stack("up", state=state, settings=settings)
        assert done.returncode == 0, done.stderr
        yield state
    finally:
        assert run_stack("down", state=state).returncode == 0


def stack_file(state: Path) -> StackFile:
    """What stack.json in that directory tells."""
    return StackFile.model_validate_json((state / "stack.json").read_text())


def tokens_of(stack: StackFile) -> Callable[..., str]:
    """What makes session tokens for that stack: ``token("thread", "user")``."""

    def token(thread: str, user: str, ttl: int = 900) -> str:
        return session_token(stack, thread=thread, user=user, ttl=ttl)

    return token
