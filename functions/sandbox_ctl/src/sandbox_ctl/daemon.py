"""Control calls to sandboxd, each signed for one sandbox, method, path and body (images/opencode/openapi.json)."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from sandbox_ctl.callkeys import Audience, CallSigner
from sandbox_ctl.loans import Loan
from sandbox_ctl.models import KnownProviders, ModelAccess
from sandbox_ctl.sandboxes import Sandbox
from threadbox.errors import OpenCodeError
from threadbox.policies import Policy
from threadbox.telemetry import logger

PORT = 4096
# How long OpenCode may take to forget a provider.
REMOVAL_PATIENCE = 10
# How long a save may take to be called off.
DISCARD_PATIENCE = 5
Shape = TypeVar("Shape", bound=BaseModel)


class DaemonStatus(BaseModel):
    """What sandboxd says of itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task_arn: str
    state: Literal["unbound", "restoring", "booting", "ready", "stopping"]
    thread_id: str | None
    generation: int | None
    session_id: str | None
    opencode_version: str | None
    codex_version: int | None = None
    policy_version: int | None = None


class HeldLoan(BaseModel):
    """The version that a sandbox has now."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int | None


class KeptVersion(BaseModel):
    """A version of a thread's memory, and where it can be read."""

    model_config = ConfigDict(frozen=True)

    generation: int
    sequence: int
    manifest_url: SecretStr
    archive_url: SecretStr


class Upload(BaseModel):
    """A presigned form by which S3 takes objects below ``prefix``."""

    model_config = ConfigDict(frozen=True)

    url: SecretStr
    fields: dict[str, SecretStr]
    prefix: str

    def said(self) -> dict[str, object]:
        """Return it with its secrets, for the sandbox."""
        fields = {name: value.get_secret_value() for name, value in self.fields.items()}
        return {"url": self.url.get_secret_value(), "fields": fields, "prefix": self.prefix}


class Memory(BaseModel):
    """Where a sandbox saves, and what it may restore, the newest first."""

    model_config = ConfigDict(frozen=True)

    upload: Upload
    kept: list[KeptVersion]

    def said(self) -> dict[str, object]:
        """Return it with its secrets, for the sandbox."""
        kept = [
            {
                "generation": version.generation,
                "sequence": version.sequence,
                "manifest_url": version.manifest_url.get_secret_value(),
                "archive_url": version.archive_url.get_secret_value(),
            }
            for version in self.kept
        ]
        return {"upload": self.upload.said(), "kept": kept}


class MemoryTold(BaseModel):
    """What the sandbox says of its memory."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    unsaved: bool
    problem: str | None


class Discarded(BaseModel):
    """The sandbox saves nothing any more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    discarded: Literal[True]


class Removal(BaseModel):
    """Whether there was something to remove."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonClient:
    """Speaks to the sandboxd of one sandbox at a time."""

    http: httpx.Client
    signer: CallSigner

    def hello(self, sandbox: Sandbox) -> DaemonStatus:
        """
        Ask who answers at the sandbox's address.

        Raises:
            OpenCodeError: nobody answers there, or not as this sandbox.
        """
        status = self._call(sandbox, "GET", "/sandboxd/hello", DaemonStatus)
        if status.task_arn != sandbox.task_arn:
            raise OpenCodeError("Another sandbox answers at this address.")
        if status.state != "unbound" and (status.thread_id, status.generation) != (
            sandbox.thread_id,
            sandbox.generation,
        ):
            raise OpenCodeError("The sandbox at this address serves another thread.")
        return status

    def bind(
        self, sandbox: Sandbox, models: ModelAccess, loan: Loan | None, policy: Policy, memory: Memory
    ) -> DaemonStatus:
        """Give the sandbox its thread, generation, access to models, policy and memory; again it changes nothing."""
        body = {
            "thread_id": sandbox.thread_id,
            "generation": sandbox.generation,
            "model": models.model.model_dump() if models.model else None,
            "keys": {provider: key.get_secret_value() for provider, key in models.keys.items()},
            "base_urls": models.base_urls,
            "codex": _said(loan) if loan else None,
            "tool_policy": policy.model_dump(mode="json"),
            "memory": memory.said(),
        }
        return self._call(sandbox, "POST", "/sandboxd/bind", DaemonStatus, json.dumps(body).encode())

    def status(self, sandbox: Sandbox, *, wait: int) -> DaemonStatus:
        """Return its state, after at most *wait* seconds if it is booting until then."""
        return self._call(sandbox, "GET", f"/sandboxd/status?wait={wait}", DaemonStatus, patience=wait)

    def providers(self, sandbox: Sandbox, *, wait: int) -> KnownProviders:
        """Return the providers and models that OpenCode has, after at most *wait* seconds if they change until then."""
        return self._call(sandbox, "GET", f"/config/providers?wait={wait}", KnownProviders, patience=wait)

    def put_policy(self, sandbox: Sandbox, policy: Policy) -> Policy:
        """Have the sandbox's next prompt come under *policy*, or under the newer one it has; return which that is."""
        body = policy.model_dump_json().encode()
        return self._call(sandbox, "PUT", "/sandboxd/tool-policy", Policy, body)

    def put_memory(self, sandbox: Sandbox, upload: Upload) -> None:
        """Have the sandbox save by this form from now on."""
        told = self._call(sandbox, "PUT", "/sandboxd/memory", MemoryTold, json.dumps(upload.said()).encode())
        if told.problem is not None:
            logger.warning("memory not saved", thread_id=sandbox.thread_id, reason=told.problem)

    def discard_memory(self, sandbox: Sandbox) -> None:
        """Have the sandbox save nothing any more; nothing is under way then."""
        self._call(sandbox, "DELETE", "/sandboxd/memory", Discarded, patience=DISCARD_PATIENCE)

    def put_provider(self, sandbox: Sandbox, provider: str, loan: Loan) -> None:
        """Give the sandbox an access token for *provider*; of a version that it had, or is past, nothing changes."""
        path = f"/sandboxd/providers/{provider}"
        self._call(sandbox, "PUT", path, HeldLoan, json.dumps(_said(loan)).encode())

    def remove_provider(self, sandbox: Sandbox, provider: str, *, version: int | None) -> bool:
        """Take the access token for *provider* back, and have none of *version* or before; False: there was none."""
        path = f"/sandboxd/providers/{provider}" + (f"?version={version}" if version else "")
        return self._call(sandbox, "DELETE", path, Removal, patience=REMOVAL_PATIENCE).removed

    def _call(
        self, sandbox: Sandbox, method: str, path: str, shape: type[Shape], body: bytes = b"", *, patience: int = 0
    ) -> Shape:
        try:
            token = self.signer.control(audience(sandbox), method=method, path=path, body=body)
        except LookupError as exc:
            raise OpenCodeError("The sandbox's call key is out of use.") from exc
        try:
            response = self.http.request(
                method,
                f"http://{sandbox.address}:{PORT}{path}",
                content=body,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                timeout=httpx.Timeout(3 + patience, connect=1),
            )
            if response.status_code != HTTPStatus.OK:
                raise OpenCodeError("The sandbox refused a call.", status=response.status_code)
            return shape.model_validate_json(response.content)
        except (httpx.HTTPError, ValidationError) as exc:
            raise OpenCodeError("The sandbox does not answer.") from exc


def _said(loan: Loan) -> dict[str, object]:
    return {**loan.model_dump(), "access_token": loan.access_token.get_secret_value()}


def audience(sandbox: Sandbox) -> Audience:
    """Return whom a call to the sandbox is for."""
    return Audience(sandbox.task_arn or "", sandbox.thread_id, sandbox.generation, sandbox.launch.key_id)
