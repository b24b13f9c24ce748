"""
``make image ENV=…``: builds the sandbox's image, pushes it, and makes it the one that new sandboxes are started from.

It takes docker or podman; either may be elsewhere (``DOCKER_HOST``, ``CONTAINER_HOST``). The image is known by its
digest: that becomes the stack's parameter ``SandboxImage``, which later deployments leave as it is. What it is made of
is written down beside it, as CycloneDX from the lock files (docs/image.md).
"""

import argparse
import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from local.stack.installs import UV
from local.stack.layout import CHECKOUT, fingerprint
from operate.stacks import LOCAL, READ_SECONDS, DeployedStack, NoStackError
from operate.steps import say

SOURCE = CHECKOUT / "images" / "opencode"
BOMS = CHECKOUT / ".local" / "sbom"
BASE = "debian:trixie-slim"
BUILDERS = ("docker", "podman")
PLATFORMS = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}
PARAMETER = "SandboxImage"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
NO_BUILDER = (
    "There is no docker and no podman here. Install one, name a machine that has one "
    "(DOCKER_HOST=ssh://…), or run this in AWS CloudShell, which has docker."
)

Run = Callable[[Sequence[str], bytes | None], str]


class NoImageError(Exception):
    """There is no new image, or it is not in use."""


def main() -> int:
    """Build, push, put in use; 0 when new sandboxes get it."""
    parser = argparse.ArgumentParser(prog="operate.image", description=__doc__)
    parser.add_argument("--env", required=True, help="an environment of samconfig.toml")
    parser.add_argument("--builder", choices=BUILDERS, help="default: the first of them that is there")
    parser.add_argument("--base", default=BASE, help="the base image; its digest is looked up (default: %(default)s)")
    parser.add_argument("--sbom-only", type=Path, metavar="DIRECTORY", help="only write down what it is made of")
    asked = parser.parse_args()
    try:
        if asked.sbom_only:
            print("\n".join(map(str, write_boms(asked.sbom_only))))
            return 0
        builder = found_builder(asked.builder)
        image = Release(stack=_stack(asked.env), builder=builder, base=asked.base).make()
    except (NoStackError, NoImageError, BotoCoreError, ClientError, OSError) as error:
        print(f"make image failed: {error}", file=sys.stderr)
        return 1
    print(f"New sandboxes are started from {image}; those that run keep theirs.")
    return 0


def found_builder(wanted: str | None = None) -> str:
    """
    Return the wanted builder, or else the first that is there.

    Raises:
        NoImageError: there is none.
    """
    found = next((name for name in ([wanted] if wanted else BUILDERS) if shutil.which(name)), None)
    if found is None:
        raise NoImageError(NO_BUILDER)
    return found


def _stack(environment: str) -> DeployedStack:
    if environment == LOCAL:
        raise NoImageError("Sandboxes of this machine are processes; make up installs what is in the image.")
    return DeployedStack.of(environment)


def utc_now() -> datetime:
    """Return the time of now."""
    return datetime.now(UTC)


def run(command: Sequence[str], given: bytes | None = None) -> str:
    """
    Run a command, whose progress is seen, and return what it prints to its standard output.

    Raises:
        NoImageError: it failed.
    """
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise NoImageError(f"{' '.join(command[:3])} … ended with {done.returncode}")
    return done.stdout.decode()


def write_boms(directory: Path) -> list[Path]:
    """
    Write what the image is made of, by its lock files, in CycloneDX; Debian's packages are not in them.

    Raises:
        NoImageError: npm or uv failed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    npm = ["npm", "sbom", "--sbom-format", "cyclonedx", "--package-lock-only", "--prefix", str(SOURCE)]
    python = [str(UV), "export", "--quiet", "--frozen", "--no-dev", "--project", str(SOURCE)]
    python += ["--format", "cyclonedx1.5"]
    written = []
    for name, command in {"npm": npm, "python": python}.items():
        done = subprocess.run(command, cwd=SOURCE, env=os.environ, capture_output=True, check=False)
        if done.returncode:
            raise NoImageError(f"{command[0]} does not tell what is in the image: {done.stderr.decode().strip()}")
        path = directory / f"{name}.cdx.json"
        path.write_bytes(done.stdout)
        written.append(path)
    return written


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One build of the image for a stack."""

    stack: DeployedStack
    builder: str
    base: str = BASE
    run: Run = run
    say: Callable[[str], None] = say
    boms: Path = BOMS
    write: Callable[[Path], list[Path]] = write_boms
    now: Callable[[], datetime] = utc_now

    def make(self) -> str:
        """
        Build, push, write down what is in it, put it in use; return its name with its digest.

        Raises:
            NoStackError, NoImageError: says what is missing or failed.
        """
        described = self.stack.describe()
        parameters = {p["ParameterKey"]: p["ParameterValue"] for p in described["Parameters"]}
        repository = self.stack.outputs().get("SandboxRepositoryUri")
        if repository is None:
            raise NoImageError("The stack was deployed without a repository: make deploy first.")
        tag = f"{repository}:{self.now():%Y%m%d-%H%M%S}-{fingerprint(SOURCE)}"
        self._build(tag, platform=PLATFORMS[parameters["SandboxArchitecture"]])
        image = f"{repository}@{self._push(repository, tag)}"
        self.say(f"pushed {image}")
        for bom in self.write(self.boms / image.rsplit(":", 1)[1][:12]):
            self.say(f"what is in it: {bom}")
        self._put_in_use(image, parameters)
        return image

    def _build(self, tag: str, *, platform: str) -> None:
        # The base image's tag moves: what is built from is what it stands for now.
        self.run([self.builder, "pull", "--quiet", "--platform", platform, self.base], None)
        inspect = [self.builder, "image", "inspect", self.base, "--format", "{{index .RepoDigests 0}}"]
        base = self.run(inspect, None).strip()
        self.say(f"building {platform} from {base}")
        pinned = ["--build-arg", f"DEBIAN={base}"]
        self.run([self.builder, "build", "--platform", platform, *pinned, "--tag", tag, str(SOURCE)], None)

    def _push(self, repository: str, tag: str) -> str:
        ecr = self._client("ecr")
        (granted,) = ecr.get_authorization_token()["authorizationData"]
        user, _, password = base64.b64decode(granted["authorizationToken"]).decode().partition(":")
        login = [self.builder, "login", "--username", user, "--password-stdin", repository.split("/", 1)[0]]
        self.run(login, password.encode())
        self.run([self.builder, "push", tag], None)
        name, label = repository.split("/", 1)[1], tag.rsplit(":", 1)[1]
        (pushed,) = ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": label}])["imageDetails"]
        digest: str = pushed["imageDigest"]
        return digest

    def _put_in_use(self, image: str, parameters: dict[str, str]) -> None:
        cloudformation = self._client("cloudformation")
        kept = [{"ParameterKey": name, "UsePreviousValue": True} for name in parameters if name != PARAMETER]
        self.say(f"updating {self.stack.name}")
        cloudformation.update_stack(
            StackName=self.stack.name,
            UsePreviousTemplate=True,
            Parameters=[*kept, {"ParameterKey": PARAMETER, "ParameterValue": image}],
            Capabilities=CAPABILITIES,
        )
        try:
            cloudformation.get_waiter("stack_update_complete").wait(StackName=self.stack.name)
        except WaiterError as error:
            raise NoImageError("The stack was not updated; CloudFormation's console says why.") from error

    def _client(self, service: str) -> Any:
        return self.stack.client(service, read_seconds=READ_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
