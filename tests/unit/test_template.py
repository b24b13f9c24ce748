"""What the template says must be what the code reads."""

import pytest

from chat.settings import Settings as ChatSettings
from sandbox_ctl.settings import Settings as SandboxCtlSettings

SETTINGS = {"functions/chat/src": ChatSettings, "functions/sandbox_ctl/src": SandboxCtlSettings}
READ_BY_LIBRARIES = ("POWERTOOLS_", "AWS_")


def functions(template):
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def test_variables_of_each_function_equal_its_settings(template):
    """A variable that nobody reads, or a setting that nobody sets, is a mistake found here."""
    common = set(template["Globals"]["Function"]["Environment"]["Variables"])
    for name, properties in functions(template).items():
        variables = common | set(properties["Environment"]["Variables"])
        own = {variable for variable in variables if not variable.startswith(READ_BY_LIBRARIES)}
        assert {field.upper() for field in SETTINGS[properties["CodeUri"]].model_fields} == own, name


def test_turns_are_never_retried_and_their_failures_are_ended(template):
    """A turn that ran must not run again: what is left of it is ended by the recovery, at once."""
    config = functions(template)["ChatTurnFunction"]["EventInvokeConfig"]
    assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (0, 60)
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == {"GetAtt": "ChatRecoverFunction.Arn"}


def test_expired_leases_are_looked_for_every_minute(template):
    """The schedule is what bounds the wait when Lambda reports nothing."""
    (schedule,) = functions(template)["ChatRecoverFunction"]["Events"].values()
    assert (schedule["Type"], schedule["Properties"]["Schedule"]) == ("Schedule", "rate(1 minute)")


@pytest.mark.parametrize("secret", ["SessionSecret", "CallSecret"])
def test_secrets_are_generated(template, secret):
    """No secret stands in the template or its parameters."""
    assert "GenerateSecretString" in template["Resources"][secret]["Properties"]


def test_sandboxes_have_no_task_role_and_no_secrets(template):
    """There are no credentials in a sandbox to steal, and nothing in its definition to read."""
    definition = template["Resources"]["SandboxTaskDefinition"]["Properties"]
    assert "TaskRoleArn" not in definition
    (container,) = definition["ContainerDefinitions"]
    assert {"Environment", "Secrets"}.isdisjoint(container)
