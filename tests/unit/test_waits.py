"""Every wait ends within the wait of whoever waits for it."""

import ast
import json

from chat.claims import LEASE as TURN_LEASE
from chat.running import KEEP_EVERY
from local.gateway.limits import Limits
from oauth_proxy.authorize import FUNCTION_SECONDS
from oauth_proxy.steps import SLICE
from sandbox_ctl import commands, offers, openai, refresher, starts, workspaces
from sandbox_ctl.sandboxes import LEASE as START_LEASE
from tests.stacks import ROOT


def test_request_ends_before_its_function_and_its_integration(template):
    """API Gateway gives up after 29 s, and says 504 of its own; until then every function has answered by itself."""
    integration = Limits().integration_seconds
    longest_hop = template["Parameters"]["HopSeconds"]["MaxValue"]

    assert longest_hop < FUNCTION_SECONDS < integration
    assert max(offers.WAIT_SECONDS, workspaces.WAIT_SECONDS, commands.SYNC_SECONDS) < workspaces.WHOLE_SECONDS
    assert workspaces.WHOLE_SECONDS < integration
    for name in ("ChatHttpFunction", "ChatSocketFunction", "OauthHttpFunction", "SandboxCtlFunction"):
        assert integration >= timeout(template, name), name


def test_slice_of_a_sign_in_ends_before_its_function_and_that_before_its_state(template):
    """What a step leaves for the end of an attempt is still its function's."""
    machine = json.loads((ROOT / "statemachines" / "signin.asl.json").read_text())
    step = timeout(template, "OauthStepFunction")

    assert SLICE + farewell("oauth_proxy") < step
    for name, state in machine["States"].items():
        if state["Type"] == "Task":
            assert step < state["TimeoutSeconds"], name
    assert template["Parameters"]["CodexCallbackTimeoutSeconds"]["MaxValue"] < machine["TimeoutSeconds"]


def test_turn_is_handed_over_before_its_function_ends(template):
    """With time to store the answer, whatever the stack's parameters say."""
    longest = template["Parameters"]["HandoverSeconds"]["MaxValue"]
    assert longest + farewell("chat") <= timeout(template, "ChatTurnFunction") <= 900


def test_leases_outlive_three_renewals_or_what_is_done_under_them():
    """A renewal that is late, or lost, costs nothing; what is done once under a lease is done before it ends."""
    assert KEEP_EVERY <= TURN_LEASE / 3
    assert starts.LAUNCH_SECONDS < START_LEASE
    assert openai.CONNECT_SECONDS + openai.REFRESH_SECONDS + refresher.SPARE_SECONDS < refresher.CLAIM_SECONDS


def timeout(template, name):
    common = template["Globals"]["Function"]["Timeout"]
    return template["Resources"][name]["Properties"].get("Timeout", common)


def farewell(package):
    """What the handler keeps of a function's time for the end (it is not imported: it builds clients)."""
    tree = ast.parse((ROOT / "functions" / package / "src" / package / "handler.py").read_text())
    (value,) = (
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FAREWELL"
    )
    return value
