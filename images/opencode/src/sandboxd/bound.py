"""What a bound sandbox consists of, put together."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from sandboxd.activity import Activity
from sandboxd.agent_home import AgentHome
from sandboxd.auth_file import AuthFile
from sandboxd.connection import Connection
from sandboxd.contract import Bind, ExitCode
from sandboxd.credentials import Credentials
from sandboxd.events import EventLog
from sandboxd.maintenance import Maintenance
from sandboxd.memory.manifest import Manifest
from sandboxd.memory.storage import StorageClient
from sandboxd.memory.thread_memory import ThreadMemory, compose_memory
from sandboxd.opencode import OpenCode, compose_launch
from sandboxd.policy import PolicyKeeper
from sandboxd.prompts import Prompts, PromptsUnderWay
from sandboxd.providers import WARM_UP, compose_providers, upstreams
from sandboxd.retirement import Retirement
from sandboxd.settings import Settings
from sandboxd.signin import SignIn
from sandboxd.supervisor import Supervisor
from sandboxd.tasks import Tasks
from sandboxd.upstream import ModelProxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The thread served, and what serves it."""

    thread_id: str
    generation: int
    supervisor: Supervisor
    prompts: Prompts
    credentials: Credentials
    connection: Connection
    signin: SignIn
    policy: PolicyKeeper
    memory: ThreadMemory
    retirement: Retirement


def compose_bound(
    request: Bind,
    settings: Settings,
    *,
    home: AgentHome,
    proxy: ModelProxy,
    storage: StorageClient,
    describe: Callable[..., Manifest],
    log: EventLog,
    tasks: Tasks,
    activity: Activity,
    died: Callable[[], None],
    end: Callable[[ExitCode], None],
) -> Bound:
    """
    Put together what serves the thread of *request*; nothing of it runs yet.

    *died*: OpenCode ended unplanned. *end*: nobody needs the sandbox any more. *describe* makes the manifest of what is
    saved.
    """
    providers = (*upstreams(request.model, request.keys, request.base_urls), WARM_UP)
    models = compose_providers(request.model, proxied={provider: proxy.base_url(provider) for provider in providers})
    configured = cast("str | None", models.get("model"))
    under_way = PromptsUnderWay()
    memory = compose_memory(request.thread_id, settings, home=home, storage=storage, tasks=tasks, describe=describe)

    def see(event: bytes) -> None:
        under_way.see(event)
        activity.see(event)
        memory.saver.see(event)

    supervisor = Supervisor(
        lambda: OpenCode(settings.opencode, home),
        compose_launch(models, request.tool_policy.policy),
        log=log,
        tasks=tasks,
        proxy=proxy,
        died=died,
        on_event=see,
        warm_up_seconds=settings.warm_up_seconds,
        boot_seconds=settings.boot_seconds,
        stop_seconds=settings.stop_seconds,
    )

    async def busy() -> bool:
        return under_way.any() or await supervisor.busy()

    maintenance = Maintenance(busy=busy, tasks=tasks, held_seconds=settings.held_seconds)
    credentials = Credentials(AuthFile(home))
    connection = Connection(credentials=credentials, supervisor=supervisor, maintenance=maintenance)
    signin = SignIn(
        supervisor=supervisor,
        maintenance=maintenance,
        credentials=credentials,
        connection=connection,
        tasks=tasks,
        wait_seconds=settings.held_seconds,
        authorize_seconds=settings.authorize_seconds,
        shared_network=settings.shared_network,
    )
    policy = PolicyKeeper(
        request.tool_policy,
        launch=partial(compose_launch, models),
        supervisor=supervisor,
        maintenance=maintenance,
        before=signin.call_off,
        between=credentials.restore,
    )
    prompts = Prompts(
        supervisor=supervisor,
        maintenance=maintenance,
        credentials=credentials,
        under_way=under_way,
        last_event=lambda: log.last,
        default_model=lambda: connection.default_model or configured,
        wait_seconds=settings.held_seconds,
        tasks=tasks,
    )

    async def works() -> bool:
        return signin.live or await busy()

    retirement = Retirement(
        activity=activity,
        maintenance=maintenance,
        works=works,
        end=end,
        idle_seconds=settings.idle_seconds,
        life_seconds=settings.life_seconds,
        saver=memory.saver,
    )
    return Bound(
        thread_id=request.thread_id,
        generation=request.generation,
        supervisor=supervisor,
        prompts=prompts,
        credentials=credentials,
        connection=connection,
        signin=signin,
        policy=policy,
        memory=memory,
        retirement=retirement,
    )
