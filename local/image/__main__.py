"""``python -m local.image DIRECTORY``: build images/opencode in a chroot there, and print what its layers weigh."""

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

from local.image.build import BuildError, Built, build
from local.image.chroot import why_not
from local.stack.layout import CHECKOUT

CONTEXT = CHECKOUT / "images" / "opencode"
FACTS = "image.json"
MEGA = 1_000_000


def main() -> int:
    """Build, print, and leave beside the stages, in ``image.json``, what there is to know to run it."""
    parser = argparse.ArgumentParser(prog="local.image", description="The sandbox's image, built in a Debian chroot")
    parser.add_argument("directory", type=Path, help="where its stages are made; what is there of them goes first")
    directory = parser.parse_args().directory.absolute()
    reason = why_not()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 2
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.1f} s {text}", flush=True)

    try:
        built = build(CONTEXT, directory, say=say)
    except BuildError as exc:
        print(exc, file=sys.stderr)
        return 1
    say(f"built\n\n{table(built)}")
    (directory / FACTS).write_text(json.dumps(facts(built), indent=1))
    return 0


def table(built: Built) -> str:
    """The layers and their sizes."""
    rows = [f"{layer.size / MEGA:8.1f} MB  {layer.step}" for layer in built.layers]
    return "\n".join([*rows, f"{sum(layer.size for layer in built.layers) / MEGA:8.1f} MB  in all, not compressed"])


def facts(built: Built) -> dict[str, object]:
    """What there is to know to run it."""
    return {
        "root": str(built.root),
        "environment": dict(built.environment),
        "entrypoint": built.stage.entrypoint,
        "healthcheck": built.stage.healthcheck,
        "stop_signal": built.stage.stop_signal,
        "layers": [asdict(layer) for layer in built.layers],
    }


if __name__ == "__main__":
    sys.exit(main())
