"""``make up``: does what is missing between the machine as it is and a stack that answers."""

import functools
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future

import httpx

from local.ecs.image import Image
from local.ecs.isolation import Isolation
from local.idp.device_page import PATH as DEVICE_PAGE
from local.stack import parts
from local.stack.deploy import Deployment
from local.stack.installs import installs
from local.stack.layout import CHECKOUT, Layout
from local.stack.ports import Ports, choose_ports
from local.stack.processes import PartFailedError, Processes, wait_until
from local.stack.progress import Steps
from local.stack.settings import Settings
from local.stack.stack_file import StackFile

FUNCTION_SECONDS = 40


def up(layout: Layout, settings: Settings, say: Callable[[str], None]) -> None:
    """
    Bring the stack up and say where it is and what it does not protect.

    Raises:
        CommandFailedError, PartFailedError, PortsBusyError: something did not work; says what.

    """
    start = time.monotonic()
    processes = Processes(layout)
    processes.end_strays()
    ports = settle_ports(layout, settings, processes)
    deployment = Deployment(layout, ports, settings)

    with Steps(say) as steps:
        stack = _add_functions(steps, layout, ports, processes, deployment, settings=settings)
        if settings.model_base_url is None:
            model = parts.model(layout, ports)
            steps.add("demo model", lambda: processes.start(model))
        else:
            processes.stop("model", patience=5)
        install = installs()
        steps.add("sandbox: sandboxd", lambda: install["sandboxd"].do(layout))
        steps.add("sandbox: OpenCode", lambda: install["opencode"].do(layout))
        packages = steps.add("page: packages", lambda: install["page-packages"].do(layout))
        page = steps.add("page: build", lambda: install["page"].do(layout), after=[packages])
        # After the deployment, whose routes it keeps.
        gateway = steps.add("gateway", lambda: processes.start(parts.gateway(layout, ports)), after=[stack])
        steps.add("edge", lambda: processes.start(parts.edge(layout, ports, stack.result())), after=[stack])
        web = functools.partial(_start_web, layout, settings, ports, processes)
        steps.add("page", lambda: web(stack.result()), after=[page, stack, gateway])

    file = stack.result()
    file.pids = {name: running.pid for name, running in processes.running().items()}
    file.write(layout.stack_file)
    say(f"\nThreadbox is up ({time.monotonic() - start:.1f} s): {file.web_url}")
    if file.idp_url is not None:
        say(f"Codes to sign in with are approved here: {file.idp_url}{DEVICE_PAGE}")
    say("\nNot protected on this machine:")
    for gap in Isolation.probe().protection(Image.find(CHECKOUT / "images" / "opencode"), layout.sandboxes):
        say(f"- {gap}")


def settle_ports(layout: Layout, settings: Settings, processes: Processes) -> Ports:
    """The block of ports: that of the parts that run, if it is the wanted one; else those are stopped first."""
    memory = layout.state / "port-base"
    remembered = int(memory.read_text()) if memory.exists() else None
    running = processes.running()
    if running:
        if remembered is not None and settings.threadbox_port_base in {None, remembered}:
            ours = {port for part in running.values() for port in (part.port, *part.more_ports)}
            if ours >= set(Ports(remembered).busy()):
                return Ports(remembered)
        for name in parts.STOP_ORDER:
            processes.stop(name, patience=20)
        processes.end_strays()
    ports = choose_ports(layout.state, wanted=settings.threadbox_port_base, remembered=remembered)
    layout.state.mkdir(parents=True, exist_ok=True)
    memory.write_text(str(ports.base))
    return ports


def _add_functions(
    steps: Steps, layout: Layout, ports: Ports, processes: Processes, deployment: Deployment, *, settings: Settings
) -> Future[StackFile]:
    """The steps up to functions that answer; in the end stack.json is there for the page."""
    install = installs()

    def deployed() -> StackFile:
        outputs = deployment.outputs()
        if outputs is None:
            deployment.deploy()
            outputs = deployment.outputs()
        if outputs is None:
            raise PartFailedError(f"the stack did not become complete; see {layout.logs}/sam-deploy.log")
        file = StackFile.of(ports, outputs, idp=not settings.real_codex)
        file.write(layout.stack_file)
        return file

    ministack = steps.add("embedded AWS: packages", lambda: install["ministack"].do(layout))
    aws = steps.add("embedded AWS", lambda: _start_aws(layout, settings, ports, processes), after=[ministack])
    # Before the ECS, for sandboxes trust its certificate from their start.
    idp = steps.add("identity provider", lambda: _start_idp(layout, settings, ports, processes))
    ecs = steps.add("local ECS", lambda: processes.start(parts.ecs(layout, ports, settings)), after=[aws, idp])
    sam = steps.add("SAM CLI", lambda: install["sam"].do(layout))
    build = steps.add("functions and layer: build", deployment.build, after=[sam])
    stack = steps.add("functions and layer: deploy", deployed, after=[build, aws])
    steps.add("functions and layer: answer", lambda: _wait_for_functions(layout, stack.result()), after=[stack, ecs])
    return stack


def _start_aws(layout: Layout, settings: Settings, ports: Ports, processes: Processes) -> None:
    if processes.find("aws") is None:
        # The unpacked code of functions, of which a killed one leaves as much as there was.
        shutil.rmtree(layout.state / "tmp", ignore_errors=True)
    processes.start(parts.aws(layout, ports, settings))


def _start_idp(layout: Layout, settings: Settings, ports: Ports, processes: Processes) -> None:
    part = parts.idp(layout, ports, settings)
    if settings.real_codex:
        processes.stop(part.name, patience=part.stop_seconds)
    else:
        processes.start(part)


def _start_web(layout: Layout, settings: Settings, ports: Ports, processes: Processes, file: StackFile) -> None:
    processes.start(parts.web(layout, ports, stack=file.model_dump_json(), demo_model=settings.demo_answers))


def _wait_for_functions(layout: Layout, file: StackFile) -> None:
    def healthy() -> bool:
        return httpx.get(f"{file.http_url}/health", timeout=30, trust_env=False).is_success

    if not wait_until(healthy, seconds=FUNCTION_SECONDS):
        raise PartFailedError(f"{file.http_url}/health does not answer 200; see make logs and {layout.logs}/aws.log")
