"""The part of a Dockerfile's language that images/opencode uses; what is outside of it is refused, not skipped."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


class DockerfileError(ValueError):
    """A line that cannot be read here."""


@dataclass(frozen=True, slots=True)
class Run:
    """A command in a shell, as root."""

    command: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Files of the build context, or of another stage, into a directory of the image or under a name of their own."""

    sources: tuple[str, ...]
    target: str
    stage: str | None


@dataclass(slots=True)
class Stage:
    """One FROM and what follows it; *base* is another stage's name, or an image's."""

    name: str
    base: str
    steps: list[Run | Copy] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    health_options: dict[str, str] = field(default_factory=dict)
    stop_signal: str = "SIGTERM"


def read_dockerfile(path: Path) -> list[Stage]:
    """
    The stages, in their order; the last one is the image.

    Raises:
        DockerfileError: it says something that is not understood here.

    """
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for instruction, rest in _instructions(path.read_text()):
        if instruction == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            base = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base)
            stages.append(Stage(name=name or "image", base=base))
        else:
            _read(stages[-1], instruction, rest)
    return stages


def _read(stage: Stage, instruction: str, rest: str) -> None:
    match instruction:
        case "RUN":
            stage.steps.append(Run(rest))
        case "COPY":
            *sources, target = shlex.split(rest)
            source_stage = None
            if sources[0].startswith("--from="):
                source_stage = sources.pop(0).removeprefix("--from=")
            stage.steps.append(Copy(tuple(sources), target, source_stage))
        case "ENV":
            stage.environment.update(_pair(pair) for pair in shlex.split(rest))
        case "ENTRYPOINT":
            stage.entrypoint = json.loads(rest)
        case "HEALTHCHECK":
            options, _, command = rest.partition(" CMD ")
            stage.health_options = dict(_pair(option.removeprefix("--")) for option in options.split())
            stage.healthcheck = json.loads(command)
        case "STOPSIGNAL":
            stage.stop_signal = rest
        case "WORKDIR" if rest == "/":
            pass
        case "EXPOSE":
            pass
        case _:
            raise DockerfileError(f"{instruction} {rest}")


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\s*\\\n\s*", " ", lines)
    words = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(instruction, rest.strip()) for instruction, rest in words]
