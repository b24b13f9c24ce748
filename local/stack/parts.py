"""The parts that run in the background, and how each is started."""

import ast
import sys
from pathlib import Path

from local.edge.distribution import PROGRAM, described
from local.idp.authority import CERTIFICATE
from local.stack.layout import CHECKOUT, Layout, fingerprint
from local.stack.ports import Ports
from local.stack.processes import Part
from local.stack.settings import Settings
from local.stack.stack_file import StackFile
from local.stack.template import TEMPLATE, read_template

LOCAL = CHECKOUT / "local"
STOP_ORDER = ("web", "edge", "gateway", "model", "idp", "ecs", "aws")
"""The embedded AWS last: until then it takes what the others have to tell it."""


def aws(layout: Layout, ports: Ports, settings: Settings) -> Part:
    """MiniStack: every AWS service but the running of tasks."""
    state = layout.state / "ministack"
    environment = layout.clean_environment() | {
        "GATEWAY_PORT": str(ports["aws"]),
        "BIND_HOST": "127.0.0.1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "STATE_DIR": str(state / "services"),
        "PERSIST_STATE": "1",
        "S3_DATA_DIR": str(state / "s3"),
        "S3_PERSIST": "1",
        # Every invocation under way holds a thread.
        "MINISTACK_WORKER_THREADS": "256",
        # It counts idleness from the begin of a call; fifty cold starts at once take a busy machine over its 300 s.
        "LAMBDA_WARM_TTL_SECONDS": "900",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        # It would look for containers of its own in the developer's docker.
        "DOCKER_HOST": f"unix://{state}/no-docker.sock",
        # Functions act by their roles then; whoever else has our own key is the account's root.
        "AUTH": str(settings.threadbox_enforce_iam).lower(),
    }
    python = layout.tools / "ministack" / "bin" / "python"
    return _part(
        "aws", ports, (str(python), "-m", "ministack"), environment, "/_ministack/health",
        made_of=fingerprint(LOCAL / "ministack"), start_seconds=60, stop_seconds=20,
    )  # fmt: skip


def ecs(layout: Layout, ports: Ports, settings: Settings) -> Part:
    """The local ECS, which runs the sandboxes; their way out leads over the local identity provider's proxy."""
    proxy = ("--proxy", f"http://127.0.0.1:{ports['idp_proxy']}", "--ca", str(layout.idp / CERTIFICATE))
    command = (
        *(sys.executable, "-m", "local.fargate", "--port", str(ports["ecs"])),
        *("--aws", f"http://127.0.0.1:{ports['aws']}", "--state", str(layout.sandboxes)),
        *("--image", str(CHECKOUT / "images" / "opencode"), "--network", ports.sandbox_network),
        *(() if settings.real_codex else proxy),
    )
    return _part("ecs", ports, command, layout.clean_environment(), "/_local/health", made_of=program("fargate"))


def gateway(layout: Layout, ports: Ports) -> Part:
    """The WebSocket gateway, started anew with the template, since it keeps what that says of routes."""
    aws = f"http://127.0.0.1:{ports['aws']}"
    command = (sys.executable, "-m", "local.gateway", "--port", str(ports["gateway"]), "--aws", aws)
    made_of = fingerprint(program("gateway/__main__"), TEMPLATE)
    return _part("gateway", ports, command, layout.clean_environment(), "/_local/health", made_of=made_of)


def edge(layout: Layout, ports: Ports, stack: StackFile) -> Part:
    """The address that both APIs have in common, made of what the template says of its distribution."""
    apis = {"HttpApi": stack.http_url, "WebSocketApi": stack.ws_url.removesuffix("/live").replace("ws:", "http:")}
    path = LOCAL / "edge" / PROGRAM
    command = ("node", str(path), "--port", str(ports["edge"]), "--distribution", described(read_template(), apis))
    return _part("edge", ports, command, layout.clean_environment(), "/_local/health", made_of=fingerprint(path))


def model(layout: Layout, ports: Ports) -> Part:
    """The demo model."""
    command = (sys.executable, "-m", "local.model", "--port", str(ports["model"]))
    return _part("model", ports, command, layout.clean_environment(), "/v1/models", made_of=program("model"))


def idp(layout: Layout, ports: Ports, settings: Settings) -> Part:
    """The local identity provider, and the proxy that leads to it."""
    command = (
        *(sys.executable, "-m", "local.idp", "--ca-dir", str(layout.idp)),
        *("--port", str(ports["idp"]), "--proxy-port", str(ports["idp_proxy"])),
        *("--interval", str(settings.codex_interval_seconds)),
        *("--access-seconds", str(settings.codex_access_seconds)),
    )
    # Its pages are made of files that no module imports.
    made_of = fingerprint(program("idp/__main__"), LOCAL / "idp")
    return _part(
        "idp", ports, command, layout.clean_environment(), "/health", made_of=made_of, more_ports=(ports["idp_proxy"],)
    )


def web(layout: Layout, ports: Ports, *, stack: str, demo_model: bool) -> Part:
    """The page and its backend; *stack* is what stack.json tells it, *demo_model* whether no real one answers."""
    command = (
        *(sys.executable, "-m", "local.web", "--state", str(layout.stack_file)),
        *(("--demo-model",) if demo_model else ()),
    )
    return _part("web", ports, command, layout.clean_environment(), "/", made_of=fingerprint(program("web"), stack))


def program(name: str) -> str:
    """Fingerprint of a program: its module and those of this package that it imports, over however many steps."""
    found: set[Path] = set()
    ahead = {LOCAL / f"{name}.py"}
    while ahead:
        path = ahead.pop()
        found.add(path)
        ahead |= _imported_by(path) - found
    return fingerprint(*sorted(found))


def _imported_by(path: Path) -> set[Path]:
    paths = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            package, *inner = node.module.split(".")
            if package == LOCAL.name:
                place = LOCAL.joinpath(*inner)
                paths |= {place.with_suffix(".py"), *(place / f"{alias.name}.py" for alias in node.names)}
    return {path for path in paths if path.exists()}


def _part(
    name: str,
    ports: Ports,
    command: tuple[str, ...],
    environment: dict[str, str],
    ready_path: str,
    *,
    made_of: str,
    start_seconds: float = 20,
    stop_seconds: float = 15,
    more_ports: tuple[int, ...] = (),
) -> Part:
    return Part(
        name=name,
        port=ports[name],
        command=command,
        directory=CHECKOUT,
        environment=environment,
        made_of=fingerprint(made_of, command, sorted(environment.items())),
        ready_path=ready_path,
        start_seconds=start_seconds,
        stop_seconds=stop_seconds,
        more_ports=more_ports,
    )
