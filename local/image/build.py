"""The steps of a Dockerfile, run in a chroot for each stage; and what each adds to the image."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.image.chroot import AUTHORITIES, GRANTED, debootstrap, entering, environment
from local.image.dockerfile import Copy, Run, Stage, read_dockerfile

INSIDE_AUTHORITIES = "/tmp/authorities.crt"  # noqa: S108 - in the image, while it is built
CERTIFICATES = ("NODE_EXTRA_CA_CERTS", "PIP_CERT", "SSL_CERT_FILE")
STEP_SECONDS = 600


class BuildError(Exception):
    """A step failed; says what it wrote last."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What a step of the last stage (or of those it is made from) adds."""

    step: str
    size: int
    """Bytes of the files it wrote, as they lie in the layer before it is compressed."""


@dataclass(frozen=True, slots=True)
class Built:
    """An image in a directory."""

    root: Path
    stage: Stage
    environment: Mapping[str, str]
    layers: tuple[Layer, ...]


def build(context: Path, directory: Path, *, say: Callable[[str], None]) -> Built:
    """
    Build the Dockerfile of *context*; the stages' roots are made in *directory*, which must not hold any.

    Raises:
        BuildError: a step failed.

    """
    stages = read_dockerfile(context / "Dockerfile")
    roots: dict[str, Path] = {}
    layers: dict[str, tuple[Layer, ...]] = {}
    variables: dict[str, dict[str, str]] = {}
    for stage in stages:
        root = directory / stage.name
        if stage.base in roots:
            subprocess.run(["cp", "--archive", "--reflink=auto", str(roots[stage.base]), str(root)], check=True)
        else:
            say(f"{stage.name}: FROM {stage.base}")
            _debian(root)
        roots[stage.name] = root
        found = list(layers.get(stage.base, ())) or [Layer(f"FROM {stage.base}", _size(_files(root)))]
        variables[stage.name] = {**variables.get(stage.base, {}), **stage.environment}
        for step in stage.steps:
            before = _files(root)
            say(f"{stage.name}: {describe(step)}")
            if isinstance(step, Run):
                _run(root, step.command, variables[stage.name])
            else:
                _copy(step, root, context if step.stage is None else roots[step.stage])
            after = _files(root)
            added = {path: facts for path, facts in after.items() if before.get(path) != facts}
            found.append(Layer(describe(step), _size(added)))
        layers[stage.name] = tuple(found)
    last = stages[-1]
    return Built(roots[last.name], last, variables[last.name], layers[last.name])


def describe(step: Run | Copy) -> str:
    """A step as the Dockerfile has it, about."""
    if isinstance(step, Run):
        return f"RUN {step.command.partition(' && ')[0]}"
    return f"COPY {' '.join(step.sources)}"


def _debian(root: Path) -> None:
    try:
        debootstrap(root)
    except subprocess.CalledProcessError as exc:
        raise BuildError(f"mmdebstrap: {exc.stderr[-2000:]}") from exc


def _run(root: Path, command: str, variables: Mapping[str, str]) -> None:
    """As docker does; where this machine trusts authorities of its own, so does the step."""
    found = environment(variables)
    trusted = root / INSIDE_AUTHORITIES.removeprefix("/")
    trusting = AUTHORITIES.exists()
    if trusting:
        shutil.copyfile(AUTHORITIES, trusted)
        found |= dict.fromkeys(CERTIFICATES, INSIDE_AUTHORITIES)
    done = subprocess.run(
        entering(root, ("/bin/sh", "-c", command), granted=GRANTED),
        env=found, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", timeout=STEP_SECONDS, check=False,
    )  # fmt: skip
    if trusting:
        trusted.unlink()
    if done.returncode != 0:
        raise BuildError(f"RUN {command} ended with {done.returncode}:\n{done.stdout[-3000:]}")


def _copy(step: Copy, root: Path, source_root: Path) -> None:
    target = root / step.target.removeprefix("/")
    for name in step.sources:
        source = source_root / name.removeprefix("/")
        to = target / source.name if step.target.endswith("/") else target
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # Of a directory its content is copied, whichever name it has.
            to = target
            shutil.copytree(
                source, to, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            ) if step.stage is None else _copy_exactly(source, to)
        else:
            shutil.copy(source, to)
        for path in (to, *to.rglob("*")) if step.stage is None else ():
            os.chown(path, 0, 0, follow_symlinks=False)


def _copy_exactly(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--archive", "--no-target-directory", str(source), str(target)], check=True)


def _files(root: Path) -> dict[Path, tuple[int, int, int, int]]:
    """Every file, with what changes when it does: inode, modes, when it was changed, and its size."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            facts = path.lstat()
            size = facts.st_size if stat.S_ISREG(facts.st_mode) else 0
            found[path.relative_to(root)] = (facts.st_ino, facts.st_mode, facts.st_ctime_ns, size)
    return found


def _size(files: Mapping[Path, tuple[int, int, int, int]]) -> int:
    # Hard links are one file.
    return sum({inode: size for inode, _, _, size in files.values()}.values())
