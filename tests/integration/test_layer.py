"""What a function needs comes from the layer, and from nowhere else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = {
    "ChatHttpFunction": "chat.handler",
    "ChatSocketFunction": "chat.handler",
    "ChatTurnFunction": "chat.handler",
    "ChatRecoverFunction": "chat.handler",
    "OauthHttpFunction": "oauth_proxy.handler",
    "OauthStepFunction": "oauth_proxy.handler",
    "SandboxCtlFunction": "sandbox_ctl.handler",
}
# Started isolated and without site-packages, a function sees the standard library, its own folder and the layer.
PROGRAM = """
import importlib, json, sys
function, layer, handler = sys.argv[1:]
sys.path[:0] = [layer, function]
importlib.import_module(handler)
origins = {m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)}
print(json.dumps(sorted(o for o in origins if "site-packages" in o)))
"""


@pytest.fixture(scope="module")
def build(stack_state) -> Path:
    """The folder that `sam build` made."""
    return stack_state / "build"


@pytest.mark.parametrize(("function", "handler"), FUNCTIONS.items())
def test_function_runs_on_its_own_folder_and_the_layer(build, function, handler, template):
    """The built handler imports with nothing else on its path."""
    properties = template["Resources"][function]["Properties"]
    common = template["Globals"]["Function"]["Environment"]["Variables"]
    variables = dict.fromkeys([*common, *properties["Environment"]["Variables"]], "1")
    urls = dict.fromkeys(["CONNECTIONS_URL", "AWS_ENDPOINT_URL_ECS"], "http://127.0.0.1:1")
    variables |= {
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "SANDBOX_SIZES": "1=512/1024",
        **urls,
    }

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, build / function, build / "CommonLayer" / "python", handler],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert [] == json.loads(done.stdout)
