"""What each function may do in AWS is what its code does there: no less, and no more."""

import botocore.session
import pytest
from botocore import xform_name

from tests.call_graph import TRANSACTED, AwsCall, CallGraph

# What of the code asks for, where that is not the operation of the same name: AWS's service authorization reference.
ACTIONS = {
    AwsCall("apigatewaymanagementapi", "post_to_connection"): {"execute-api:ManageConnections"},
    AwsCall("apigatewaymanagementapi", "delete_connection"): {"execute-api:ManageConnections"},
    AwsCall("dynamodb", "transact_write_items"): set(),
    **{AwsCall("dynamodb", kind): {f"dynamodb:{kind}Item"} for kind in TRANSACTED if kind != "ConditionCheck"},
    AwsCall("dynamodb", "ConditionCheck"): {"dynamodb:ConditionCheckItem"},
    AwsCall("dynamodb", "batch_writer"): {"dynamodb:BatchWriteItem"},
    AwsCall("ecs", "run_task"): {"ecs:RunTask", "iam:PassRole"},
    AwsCall("lambda", "invoke"): {"lambda:InvokeFunction"},
    AwsCall("s3", "delete_objects"): {"s3:DeleteObject"},
    AwsCall("s3", "generate_presigned_post"): {"s3:PutObject"},
    AwsCall("s3", "list_objects_v2"): {"s3:ListBucket"},
}
# What is no call.
LOCAL = {"exceptions", "meta", "name", "client", "get_paginator", "paginate", "generate_presigned_url"}
# A library that is given a client, and what it calls.
LIBRARIES = {
    "aws_lambda_powertools.utilities.feature_flags.appconfig.AppConfigStore": {
        "appconfig:StartConfigurationSession",
        "appconfig:GetLatestConfiguration",
    }
}
# Who speaks to a sandbox, over the network.
SANDBOX_CLIENTS = (
    "chat.opencode.OpenCodeClient.",
    "oauth_proxy.sandbox.SigninClient.",
    "sandbox_ctl.daemon.DaemonClient.",
    "sandbox_ctl.workspaces.WorkspaceClient.",
)
# Who calls what of several of a kind.
FUNCTIONS = {
    "chat.dispatch.TurnDispatcher._invoke": "${AWS::StackName}-chat-turn",
    "threadbox.control.SandboxControlClient._invoke": "${AWS::StackName}-sandbox-ctl",
}
SECRETS = {
    "threadbox.sessions.SessionVerifier.verify": "SessionSecret.Id",
    "sandbox_ctl.callkeys.CallSigner._sign": "CallSecret.Id",
    "sandbox_ctl.handler.model_keys": "ModelKeysSecretArn",
}
# AWS takes no narrower resource for them.
WITHOUT_RESOURCE = {"ecs:ListTasks", "ecr:GetAuthorizationToken"}


@pytest.fixture(scope="module")
def graph():
    return CallGraph()


@pytest.fixture(scope="module")
def reach(graph, template):
    """What each function reaches."""
    return {name: graph.reached_from(properties["Handler"]) for name, properties in functions(template).items()}


def test_each_function_may_do_what_its_code_does_and_nothing_else(reach, template):
    """What it calls of AWS, found by types from its handler on, is what its role allows."""
    for name, properties in functions(template).items():
        needed = set().union(*map(actions_of, reach[name].calls))
        for part in reach[name].parts & LIBRARIES.keys():
            needed |= LIBRARIES[part]
        assert needed == {action for statement in allowed(properties) for action in actions(statement)}, name


def test_each_call_that_is_found_is_one_of_a_service(reach):
    """The finder finds something: what every function of these does, whatever becomes of the rest."""
    for name, found in reach.items():
        assert AwsCall("dynamodb", "get_item") in found.calls, name
    assert AwsCall("kms", "decrypt") in reach["SandboxCtlFunction"].calls
    assert AwsCall("kms", "decrypt") not in reach["OauthStepFunction"].calls


@pytest.mark.parametrize(
    "action, whom", [("lambda:InvokeFunction", FUNCTIONS), ("secretsmanager:GetSecretValue", SECRETS)]
)
def test_each_function_reaches_those_that_it_may_reach(reach, template, action, whom):
    """Which function it invokes, and which secret it reads, by who does that in its code."""
    for name, properties in functions(template).items():
        granted = str([s["Resource"] for s in allowed(properties) if action in actions(s)])
        for part, resource in whom.items():
            assert (resource in granted) == (part in reach[name].parts), (name, part)


def test_functions_in_the_network_are_those_that_call_sandboxes(reach, template):
    """No other has the burden of it, nor a way to a sandbox."""
    calling = {name for name, found in reach.items() if any(p.startswith(SANDBOX_CLIENTS) for p in found.parts)}
    assert calling == {name for name, properties in functions(template).items() if "VpcConfig" in properties}


def test_no_resource_is_a_wildcard_unless_there_is_none_to_name(template):
    """In what functions, sandboxes and the state machine are allowed."""
    for name, statement in everything_allowed(template):
        if "*" in (statement["Resource"], *always_list(statement["Resource"])):
            assert WITHOUT_RESOURCE >= set(actions(statement)), name


def test_no_action_is_a_wildcard(template):
    """What is allowed is said."""
    for name, statement in everything_allowed(template):
        assert not any("*" in action for action in actions(statement)), name


def test_tasks_are_run_of_this_stacks_definition_in_its_cluster_with_its_role(template):
    """RunTask and PassRole are what a stolen role would be used for."""
    statements = {action: s for s in allowed(functions(template)["SandboxCtlFunction"]) for action in actions(s)}
    run, passed = statements["ecs:RunTask"], statements["iam:PassRole"]

    assert run["Resource"]["Sub"].endswith(":task-definition/${AWS::StackName}-sandbox:*")
    assert {"ArnEquals": {"ecs:cluster": {"GetAtt": "Cluster.Arn"}}} == run["Condition"]
    assert {"GetAtt": "SandboxExecutionRole.Arn"} == passed["Resource"]
    assert {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}} == passed["Condition"]


def test_execution_role_has_one_repository_and_one_log_group(template):
    """ECS pulls the sandbox's image and writes its log; there is nothing else to be had by that role."""
    (policy,) = template["Resources"]["SandboxExecutionRole"]["Properties"]["Policies"]
    found = {
        action: statement["Resource"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in actions(statement)
    }
    repository = {"GetAtt": "SandboxRepository.Arn"}
    assert {
        "logs:CreateLogStream": {"GetAtt": "SandboxLogGroup.Arn"},
        "logs:PutLogEvents": {"GetAtt": "SandboxLogGroup.Arn"},
        "ecr:BatchCheckLayerAvailability": repository,
        "ecr:BatchGetImage": repository,
        "ecr:GetDownloadUrlForLayer": repository,
        "ecr:GetAuthorizationToken": "*",
    } == found


def test_code_may_not_touch_network_interfaces(template):
    """Lambda does, by the role of each function in the network; what takes it from the code is in each of them."""
    (statement,) = template["Resources"]["NoInterfacesPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert "Deny" == statement["Effect"]
    assert {"ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"} < set(statement["Action"])
    for name, properties in functions(template).items():
        assert ({"Ref": "NoInterfacesPolicy"} in properties["Policies"]) == ("VpcConfig" in properties), name


@pytest.mark.parametrize("call", [AwsCall("s3", "no_such"), AwsCall("dynamodb", "no_such")])
def test_unknown_call_is_not_overlooked(call):
    """What is neither an operation nor known not to be one is found."""
    with pytest.raises(AssertionError, match="no_such"):
        actions_of(call)


def actions_of(call):
    """What AWS wants allowed for a call."""
    if call in ACTIONS:
        return ACTIONS[call]
    if call.method in LOCAL:
        return set()
    model = botocore.session.get_session().get_service_model(call.service)
    operations = {xform_name(operation): operation for operation in model.operation_names}
    assert call.method in operations, call
    return {f"{model.signing_name}:{operations[call.method]}"}


def functions(template):
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def allowed(properties):
    """The statements of a function's role. Policies of SAM's and AWS's making allow more than is said here."""
    found = []
    for policy in properties["Policies"]:
        if policy != {"Ref": "NoInterfacesPolicy"}:
            assert {"Statement"} == policy.keys(), policy
            found += policy["Statement"]
    assert {"Allow"} >= {statement["Effect"] for statement in found}
    return found


def everything_allowed(template):
    for name, properties in functions(template).items():
        yield from ((name, statement) for statement in allowed(properties))
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"]["Policies"]:
                yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])
        if resource["Type"] == "AWS::Serverless::StateMachine":
            for policy in resource["Properties"]["Policies"]:
                yield from ((name, statement) for statement in policy["Statement"])


def actions(statement):
    return always_list(statement["Action"])


def always_list(value):
    return value if isinstance(value, list) else [value]
