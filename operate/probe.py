"""
A function that lives for one question: which addresses answer from inside the network of the stack's own functions.

It has sandbox_ctl's role, subnets and security groups, and nothing of its code; it is deleted when it has answered.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from operate.stacks import DeployedStack

INVOKE_SECONDS = 60
PROGRAM = '''
import json, socket, ssl, time

def reach(host, family):
    began = time.monotonic()
    try:
        found = socket.getaddrinfo(host, 443, family, socket.SOCK_STREAM)
        with socket.socket(found[0][0], found[0][1]) as raw:
            raw.settimeout(4)
            raw.connect(found[0][4])
            with ssl.create_default_context().wrap_socket(raw, server_hostname=host):
                return {"ok": True, "told": f"{time.monotonic() - began:.2f} s"}
    except OSError as error:
        return {"ok": False, "told": str(error) or type(error).__name__}

def handle(event, context):
    families = {"IPv6": socket.AF_INET6, "IPv4": socket.AF_INET}
    return {host: {name: reach(host, family) for name, family in families.items()} for host in event["hosts"]}
'''


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a TLS handshake with a host succeeded, and what there is to tell of it."""

    ok: bool
    told: str


def reaches(stack: DeployedStack, hosts: list[str]) -> dict[str, dict[str, Reach]]:
    """Return for each host what came of trying it, by family of addresses."""
    functions = stack.client("lambda", read_seconds=INVOKE_SECONDS)
    with _deployed(functions, f"{stack.name}-sandbox-ctl", f"{stack.name}-probe-{uuid4().hex[:8]}") as name:
        answer = functions.invoke(FunctionName=name, Payload=json.dumps({"hosts": hosts}))
        told = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise OSError(f"the probe failed: {told.get('errorMessage')}")
    return {host: {family: Reach(**reach) for family, reach in found.items()} for host, found in told.items()}


@contextmanager
def _deployed(functions: Any, like: str, name: str) -> Iterator[str]:
    model = functions.get_function_configuration(FunctionName=like)
    network = model.get("VpcConfig") or {}
    kept = ("SubnetIds", "SecurityGroupIds", "Ipv6AllowedForDualStack")
    functions.create_function(
        FunctionName=name,
        Runtime=model["Runtime"],
        Architectures=model["Architectures"],
        Role=model["Role"],
        Handler="probe.handle",
        Timeout=30,
        Code={"ZipFile": _zipped()},
        VpcConfig={part: network[part] for part in kept if part in network},
    )
    try:
        # Its network interfaces may take minutes.
        functions.get_waiter("function_active_v2").wait(FunctionName=name)
        yield name
    finally:
        functions.delete_function(FunctionName=name)


def _zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("probe.py", PROGRAM)
    return file.getvalue()


