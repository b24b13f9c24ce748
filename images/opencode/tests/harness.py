"""
What the tests put around sandboxd: a control plane that signs, a metadata endpoint, a model with a script, and sandboxd
itself as a real child process on a loopback address of its own.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import os
import random
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

IMAGE = Path(__file__).parent.parent
# Another version than the pinned one, when that is what is asked about (make opencode-contract).
NODE_MODULES = Path(os.environ.get("OPENCODE_MODULES", IMAGE / "node_modules"))
API_KEY = "sk-canary-5b1d7c"
ANTHROPIC_KEY = "sk-ant-canary-77e0"
OPENAI_KEY = "sk-proj-canary-c41f"
THREAD = "thread-1"
TITLE = "A short title"


def opencode_version() -> str:
    """The version of OpenCode that the tests run."""
    package = next(NODE_MODULES.glob("opencode-linux-*/package.json"))
    return str(json.loads(package.read_text())["version"])


@dataclass
class ControlPlane:
    """Signs call tokens as the control plane does."""

    audience: str = "arn:aws:ecs:eu-central-1:000000000000:task/threadbox/0123456789abcdef"
    kid: str = "k1"
    private_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    thread: str = THREAD
    gen: int = 1

    @property
    def public_keys(self) -> dict[str, str]:
        raw = self.private_key.public_key().public_bytes_raw()
        return {self.kid: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}

    def claims(self, scope: str, /, **changes: object) -> dict[str, object]:
        now = int(time.time())
        life = 60 if scope == "control" else 900
        claims: dict[str, object] = {
            "aud": self.audience,
            "thread": self.thread,
            "gen": self.gen,
            "scope": scope,
            "iat": now,
            "exp": now + life,
            "jti": secrets.token_hex(8),
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def sign(self, claims: Mapping[str, object]) -> str:
        return jwt.encode(dict(claims), self.private_key, "EdDSA", headers={"kid": self.kid})

    def control(self, method: str, path: str, body: bytes = b"", /, **changes: object) -> str:
        digest = hashlib.sha256(body).hexdigest()
        return self.sign(self.claims("control", **({"method": method, "path": path, "body": digest} | changes)))

    def turn(self, **changes: object) -> str:
        return self.sign(self.claims("turn", **changes))

    def signin(self, **changes: object) -> str:
        return self.sign(self.claims("signin", **changes))


class ScriptedModel:
    """
    An OpenAI-compatible endpoint whose answer is the script in the last user message.

    ``say N words``: N chunks "w0 w1 …"; ``hold``: one chunk, then nothing until released; ``run COMMAND``: a call of
    the bash tool, then the text "ran"; ``call TOOL {…}``: a call of that tool, offered or not, then the text "ran".
    Anything else is answered with "hello".

    Asked for a title it waits until ``titles`` is set, which it is at first.

    What comes by another route than ``chat/completions`` gets one fixed answer in the words of that API: Anthropic's
    Messages or OpenAI's Responses.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.release = threading.Event()
        self.titles = threading.Event()
        self.titles.set()
        self._server = _serve(self._handler())
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self.release.set()
        self.titles.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        model = self

        class Handler(_QuietHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                model.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    for chunk in fixed_answer(self.path) or model.script(body["messages"]):
                        self.wfile.write(chunk)

        return Handler

    def script(self, messages: list[dict[str, Any]]) -> Iterator[bytes]:
        def delta(content: dict[str, object], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": content, "finish_reason": finish}
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "demo", "choices": [choice]}
            return f"data: {json.dumps(chunk)}\n\n".encode()

        asked = _text(next(m for m in reversed(messages) if m["role"] == "user"))
        if "title generator" in _text(messages[0]):
            self.titles.wait(30)
            yield delta({"content": TITLE}) + delta({}, "stop") + b"data: [DONE]\n\n"
            return
        match asked.split():
            case ["say", count, "words"]:
                for start in range(0, int(count), 50):
                    numbers = range(start, min(start + 50, int(count)))
                    yield b"".join(delta({"content": f"w{n} "}) for n in numbers)
            case ["hold"]:
                yield delta({"content": "holding"})
                self.release.wait(30)
            case ["run" | "call", *words] if messages[-1]["role"] == "user":
                command = json.dumps({"command": " ".join(words), "description": "a test"})
                name, arguments = ("bash", command) if asked.startswith("run") else (words[0], " ".join(words[1:]))
                call = {"index": 0, "id": "call_1", "type": "function"}
                yield delta({"tool_calls": [{**call, "function": {"name": name, "arguments": arguments}}]})
                yield delta({}, "tool_calls") + b"data: [DONE]\n\n"
                return
            case ["run" | "call", *_]:
                yield delta({"content": "ran"})
            case _:
                yield delta({"content": "hello"})
        yield delta({}, "stop") + b"data: [DONE]\n\n"


def fixed_answer(path: str) -> list[bytes]:
    """The text "bonjour" from ``…/messages``, "salut" from ``…/responses``; nothing from other routes."""
    if path.endswith("/messages"):
        usage = {"input_tokens": 3, "output_tokens": 1}
        message = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": usage}
        text = {"type": "text", "text": ""}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": text},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "bonjour"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]
    elif path.endswith("/responses"):
        usage = {"input_tokens": 1, "output_tokens": 1}
        item = {"id": "m", "type": "message", "role": "assistant"}
        content = [{"type": "output_text", "text": "salut", "annotations": []}]
        events = [
            {"type": "response.created", "response": {"id": "r", "created_at": 1, "model": "gpt"}},
            {"type": "response.output_item.added", "output_index": 0, "item": item | {"content": []}},
            {"type": "response.output_text.delta", "item_id": "m", "delta": "salut"},
            {"type": "response.output_item.done", "output_index": 0, "item": item | {"content": content}},
            {"type": "response.completed", "response": {"usage": usage}},
        ]
    else:
        return []
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


def answer_of(turn: list[dict[str, Any]]) -> str:
    """The text that a turn's deltas make."""
    properties = [line["event"]["properties"] for line in turn if line["event"]["type"] == "message.part.delta"]
    return "".join(delta["delta"] for delta in properties)


@dataclass
class Sandboxd:
    """A running sandboxd and a client of it."""

    url: str
    process: subprocess.Popen[bytes]
    plane: ControlPlane
    directory: Path
    client: httpx.Client

    def call(self, method: str, path: str, body: object = None, *, token: str | None = None) -> httpx.Response:
        """Call with a fresh control token (or *token*)."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {token or self.plane.control(method, path, content)}"}
        if body is not None:
            headers["content-type"] = "application/json"
        return self.client.request(method, path, content=content, headers=headers)

    def turn_call(self, method: str, path: str, body: object = None) -> httpx.Response:
        return self.call(method, path, body, token=self.plane.turn())

    def bind(self, upstream: ScriptedModel | None = None, **changes: object) -> httpx.Response:
        base_url = upstream.base_url if upstream else "http://127.0.0.1:9/v1"
        body = {
            "thread_id": self.plane.thread,
            "generation": self.plane.gen,
            "model": {"base_url": base_url, "name": "demo"},
            "keys": {"default": API_KEY},
        }
        return self.call("POST", "/sandboxd/bind", body | changes)

    def until_ready(self) -> dict[str, Any]:
        for _ in range(10):
            status: dict[str, Any] = self.call("GET", "/sandboxd/status?wait=10").json()
            if status["state"] != "booting":
                return status
        raise AssertionError(status)

    def prompt(self, text: str, *, model: str | None = "default/demo") -> None:
        session = self.call("GET", "/sandboxd/status").json()["session_id"]
        body: dict[str, Any] = {"parts": [{"type": "text", "text": text}]}
        if model:
            provider, _, name = model.partition("/")
            body["model"] = {"providerID": provider, "modelID": name}
        answer = self.turn_call("POST", f"/session/{session}/prompt_async", body)
        assert answer.status_code == 204, answer.text

    @contextlib.contextmanager
    def events(self, query: str = "") -> Iterator[Iterator[dict[str, Any]]]:
        """The lines of the event stream, parsed."""
        headers = {"authorization": f"Bearer {self.plane.turn()}"}
        with self.client.stream("GET", f"/sandboxd/events{query}", headers=headers, timeout=40) as response:
            assert response.status_code == 200, response.read()
            yield (json.loads(line) for line in response.iter_lines())

    def opencode_pid(self) -> int:
        """OpenCode's process id, waited for: bind answers before it is started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for pid in children.read_text().split():
                if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
            threading.Event().wait(0.01)
        raise AssertionError(self.log())

    def log(self) -> str:
        return (self.directory / "log").read_text()


class NotListeningError(Exception):
    """sandboxd does not listen: it ended, or takes too long."""

    def __init__(self, exit_status: int | None, log: str) -> None:
        super().__init__(f"exit status {exit_status}: {log}")
        self.exit_status = exit_status
        self.log = log


def until_gone(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            ended, _, _ = select.select([process], [], [], 10)
            assert ended, f"process {pid} lives"
        finally:
            os.close(process)


def turn_of(lines: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """The numbered events up to the end of a turn."""
    events = []
    for line in lines:
        if line["type"] == "event":
            events.append(line)
            if line["event"]["type"] == "session.idle":
                return events
    raise AssertionError("the stream ended within the turn")


_addresses = itertools.count(random.randrange(1 << 16))


def free_address() -> str:
    """An address of the loopback that no other sandbox of these tests has."""
    number = next(_addresses)
    return f"127.200.{number >> 8 & 255}.{number % 254 + 1}"


@contextlib.contextmanager
def running(
    plane: ControlPlane,
    directory: Path,
    *,
    wrapper: Sequence[str] = (),
    outward: Mapping[str, str] | None = None,
    **settings: object,
) -> Iterator[Sandboxd]:
    """
    sandboxd as a child process; ended (and its directory's log kept) on the way out.

    *outward*: what an operator adds to its environment to lead it to a proxy.
    """
    for name in ("workspace", "home"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    host = free_address()
    with contextlib.closing(socket.create_server((host, 0))) as probe:
        port = probe.getsockname()[1]
    with metadata(plane.audience) as uri, (directory / "log").open("wb") as log:
        environment = {
            "PATH": os.environ["PATH"],
            "SANDBOXD_HOST": host,
            "SANDBOXD_PORT": str(port),
            "SANDBOXD_CALL_KEYS": json.dumps(plane.public_keys),
            "SANDBOXD_WORKSPACE": str(directory / "workspace"),
            "SANDBOXD_HOME": str(directory / "home"),
            "SANDBOXD_OPENCODE": str(NODE_MODULES),
            "SANDBOXD_BOOT_SECONDS": "90",  # a busy machine is not what is tested
            "SANDBOXD_WARM_UP_SECONDS": "600",  # most that are started here get no prompt, and would pay for it
            "ECS_CONTAINER_METADATA_URI_V4": uri,
            **(outward or {}),
            **{f"SANDBOXD_{name.upper()}": str(value) for name, value in settings.items()},
        }
        process = subprocess.Popen(
            [*wrapper, sys.executable, "-m", "sandboxd"], env=environment, stdout=log, stderr=log
        )
        url = f"http://{host}:{port}"
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            sandboxd = Sandboxd(url, process, plane, directory, client)
            try:
                until_listening(process, host, port, directory / "log")
                yield sandboxd
            finally:
                process.terminate()
                try:
                    process.wait(15)
                finally:
                    process.kill()
                    process.wait()


class Start(Protocol):
    """``running`` with control plane and directory chosen."""

    def __call__(self, **settings: object) -> contextlib.AbstractContextManager[Sandboxd]: ...


@contextlib.contextmanager
def metadata(task_arn: str) -> Iterator[str]:
    """A task metadata endpoint."""

    class Handler(_QuietHandler):
        def do_GET(self) -> None:
            body = json.dumps({"TaskARN": task_arn, "Family": "sandbox"}).encode()
            self.send_response(200 if self.path == "/v4/id/task" else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = _serve(Handler)
    try:
        yield f"http://127.0.0.1:{server.server_port}/v4/id"
    finally:
        server.shutdown()
        server.server_close()


class _QuietHandler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _serve(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def until_listening(process: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    """Wait until something listens there, or *process* ends."""
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, port), 1):
            return
        threading.Event().wait(0.02)
    raise NotListeningError(process.poll(), log.read_text())


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
