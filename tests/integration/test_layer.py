"""What a function needs comes from the layer, and from nowhere else."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.stack.deploy import built_in
from local.stack.layout import Layout
from tests.stacks import ROOT

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
CLIENTS = r'boto3\.(?:client|resource)\(\s*"([a-z0-9-]+)"'
MAKES_CLIENTS = """
import sys
sys.path.insert(0, sys.argv[1])
import boto3
for service in sys.argv[2:]:
    boto3.client(service, region_name="us-east-1")
    assert boto3.__file__.startswith(sys.argv[1])
"""


@pytest.fixture(scope="module")
def build(stack, stack_state) -> Path:
    """The folder that `sam build` made for the stack."""
    return built_in(Layout.of(stack_state))


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


def test_layer_describes_the_services_that_functions_call(build):
    """And no others: botocore's descriptions of them all are a third of what a cold start unpacks."""
    sources = [path for part in ("functions", "layers") for path in (ROOT / part).glob("*/src/**/*.py")]
    called = {service for path in sources for service in re.findall(CLIENTS, path.read_text())}
    # Powertools reads feature flags by it.
    called |= {"appconfigdata"}
    layer = build / "CommonLayer" / "python"
    described = {path.name for path in (layer / "botocore" / "data").iterdir() if path.is_dir()}
    assert called == described

    program = [sys.executable, "-I", "-S", "-c", MAKES_CLIENTS, layer, *called]
    done = subprocess.run(program, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
