"""What the template says must be what the code reads."""

import json
from pathlib import Path

import pytest

from chat.settings import Settings as ChatSettings
from oauth_proxy.settings import Settings as OauthProxySettings
from sandbox_ctl.settings import Settings as SandboxCtlSettings
from sandbox_ctl.transfers import PREFIX
from threadbox.telemetry import count

SETTINGS = {
    "functions/chat/src": ChatSettings,
    "functions/oauth_proxy/src": OauthProxySettings,
    "functions/sandbox_ctl/src": SandboxCtlSettings,
}
MACHINE = Path(__file__).parents[2] / "statemachines" / "signin.asl.json"
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


def test_limits_of_a_turn_are_as_promised(template):
    """Fifteen minutes for the user's answer, three hours in all; and a function hands over before its own time ends."""
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}

    assert (900, 10800) == (defaults["AskSeconds"], defaults["TurnSeconds"])
    latest = template["Parameters"]["HandoverSeconds"]["MaxValue"]
    assert latest < functions(template)["ChatTurnFunction"]["Timeout"]


@pytest.mark.parametrize("secret", ["SessionSecret", "CallSecret"])
def test_secrets_are_generated(template, secret):
    """No secret stands in the template or its parameters."""
    assert "GenerateSecretString" in template["Resources"][secret]["Properties"]


def test_sandboxes_have_no_task_role_and_no_secrets(template):
    """There are no credentials in a sandbox to steal, and nothing in its definition to read."""
    definition = template["Resources"]["SandboxTaskDefinition"]["Properties"]
    assert "TaskRoleArn" not in definition
    (container,) = definition["ContainerDefinitions"]
    assert "Secrets" not in container
    assert {"SANDBOXD_IDLE_SECONDS", "SANDBOXD_LIFE_SECONDS"} == {entry["Name"] for entry in container["Environment"]}


def test_sandboxes_of_both_architectures_are_alike(template):
    """The second definition differs from the first by its name and its processor alone."""
    resources = template["Resources"]
    first, second = (resources[name]["Properties"] for name in ("SandboxTaskDefinition", "ArmSandboxTaskDefinition"))
    differing = {key: (first[key], second[key]) for key in first.keys() | second.keys() if first[key] != second[key]}

    assert {"Family", "RuntimePlatform"} == differing.keys()
    assert ["X86_64", "ARM64"] == [platform["CpuArchitecture"] for platform in differing["RuntimePlatform"]]


def test_sweeper_comes_every_five_minutes(template):
    """It is the bound on what a sandbox that nobody has costs."""
    schedule = functions(template)["SandboxCtlFunction"]["Events"]["Sweep"]
    assert (schedule["Type"], schedule["Properties"]["Schedule"]) == ("Schedule", "rate(5 minutes)")


def test_limits_are_as_promised(template):
    """What one user, and one thread, may have."""
    names = ("SandboxesPerUser", "SandboxIdleSeconds", "SandboxLifeSeconds", "TurnsPerMinute", "SigninsPerHour")
    defaults = {name: template["Parameters"][name]["Default"] for name in (*names, "SocketsPerThread")}
    assert [3, 900, 43200, 30, 5, 10] == list(defaults.values())


@pytest.fixture(scope="module")
def machine():
    return json.loads(MACHINE.read_text())


def test_wait_for_a_sign_in_has_literal_bounds(template, machine):
    """The whole takes longer than the longest attempt, each step longer than its function; none can hang for ever."""
    longest = template["Parameters"]["CodexCallbackTimeoutSeconds"]["MaxValue"]
    step = functions(template)["OauthStepFunction"]["Timeout"]
    tasks = [state for state in machine["States"].values() if state["Type"] == "Task"]

    assert longest < machine["TimeoutSeconds"] < 2 * longest
    assert 3 == len(tasks)
    assert all(step < task["TimeoutSeconds"] < longest for task in tasks)


def test_breakdown_of_a_step_ends_the_attempt(machine):
    """Whatever a step dies of; how an attempt ended is decided by what the steps return."""
    states = machine["States"]
    for name in ("Begin", "Wait"):
        (catch,) = states[name]["Catch"]
        assert (["States.ALL"], "Fail") == (catch["ErrorEquals"], catch["Next"])
    assert "Choice" == states[states["Wait"]["Next"]]["Type"]


def test_wait_is_named_and_standard(template):
    """An express machine ends after five minutes, and starts anew under a name it had."""
    properties = template["Resources"]["SigninMachine"]["Properties"]
    assert ("STANDARD", {"Sub": "${AWS::StackName}-signin"}) == (properties["Type"], properties["Name"])


def test_only_oauth_http_starts_the_wait(template):
    """Of one machine, and nothing else in Step Functions; the steps' function may not start anything."""
    allowed = _allowed(template, "states:")
    (statement,) = allowed.pop("OauthHttpFunction")
    assert ("states:StartExecution", {"Ref": "SigninMachine"}) == (statement["Action"], statement["Resource"])
    assert not any(allowed.values())


def test_one_function_opens_the_vault_and_one_more_seals(template):
    """Both with a key of the vault alone, and only for what is bound to a thread and its owner."""
    allowed = _allowed(template, "kms:")
    used = {name: {a for s in statements for a in _actions(s)} for name, statements in allowed.items() if statements}
    assert {
        "OauthStepFunction": {"kms:GenerateDataKey"},
        "SandboxCtlFunction": {"kms:GenerateDataKey", "kms:Decrypt"},
    } == used
    for statement in (statement for statements in allowed.values() for statement in statements):
        assert {"kms:EncryptionContext:thread": False, "kms:EncryptionContext:owner": False} == statement["Condition"][
            "Null"
        ]
        assert "VaultKey" in str(statement["Resource"])
        assert "*" != statement["Resource"]


def test_key_of_the_vault_is_rotated_kept_and_good_for_bound_data_keys_only(template):
    """Whoever calls; and it is not deleted with the stack, for then nobody could open a backup."""
    key = template["Resources"]["VaultKey"]
    statements = key["Properties"]["KeyPolicy"]["Statement"]
    denied = [statement for statement in statements if statement["Effect"] == "Deny"]
    required = {name for s in denied for name in s.get("Condition", {}).get("Null", {})}

    assert (True, "Retain") == (key["Properties"]["EnableKeyRotation"], key["UpdateReplacePolicy"])
    assert {f"kms:EncryptionContext:{name}" for name in ("thread", "owner", "provider", "schema")} == required
    assert any("kms:Encrypt" in _actions(statement) for statement in denied)


@pytest.mark.parametrize("name", ["BodiesBucket", "SandboxBucket"])
def test_buckets_are_private_encrypted_and_what_is_deleted_is_gone(template, name):
    """Nobody gets in but over TLS and by a role of this stack; no versions are kept, and nothing ends but transfers."""
    bucket = template["Resources"][name]
    properties = bucket["Properties"]
    (statement,) = template["Resources"][f"{name}Policy"]["Properties"]["PolicyDocument"]["Statement"]

    assert {True} == set(properties["PublicAccessBlockConfiguration"].values())
    assert 4 == len(properties["PublicAccessBlockConfiguration"])
    assert "ServerSideEncryptionByDefault" in properties["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    assert "BucketOwnerEnforced" == properties["OwnershipControls"]["Rules"][0]["ObjectOwnership"]
    assert "VersioningConfiguration" not in properties
    ending = [rule for rule in properties["LifecycleConfiguration"]["Rules"] if "Expiration" in str(rule)]
    assert {PREFIX} >= {rule["Prefix"] for rule in ending}
    assert "Retain" == bucket["UpdateReplacePolicy"]
    assert ("Deny", {"Bool": {"aws:SecureTransport": False}}) == (statement["Effect"], statement["Condition"])


def test_what_outlives_sandboxes_is_sandbox_ctls_alone(template):
    """What is kept of them, and what is handed over; sandboxes read and write by what it signs."""
    statements = _allowed(template, "s3:")["SandboxCtlFunction"]
    objects, listing, transfers = statements
    assert {"Sub": "${SandboxBucket.Arn}/transfers/*"} == transfers["Resource"]
    assert {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"} == set(_actions(objects))
    assert {"Sub": "${SandboxBucket.Arn}/snapshots/*"} == objects["Resource"]
    assert {"StringLike": {"s3:prefix": "snapshots/*"}} == listing["Condition"]


def test_bodies_are_written_where_turns_end_and_read_where_they_are_shown(template):
    """In this bucket only; of the others only sandbox_ctl has anything to do with S3."""
    allowed = _allowed(template, "s3:")
    del allowed["SandboxCtlFunction"]
    used = {name: {a for s in statements for a in _actions(s)} for name, statements in allowed.items() if statements}
    reads, writes = {"s3:GetObject", "s3:DeleteObject", "s3:ListBucket"}, {"s3:PutObject", "s3:DeleteObject"}
    assert {
        "ChatHttpFunction": reads,
        # A message that finds a turn whose function died ends it, and stores what there is of its answer.
        "ChatSocketFunction": reads | writes,
        "ChatTurnFunction": writes,
        "ChatRecoverFunction": writes,
    } == used
    assert all("BodiesBucket" in str(s["Resource"]) for statements in allowed.values() for s in statements)


def test_transfers_are_private_encrypted_and_forgotten(template):
    """Only sandbox_ctl lets anybody at them, by presigned URLs; what was transferred is gone after a day."""
    properties = template["Resources"]["SandboxBucket"]["Properties"]
    policy = template["Resources"]["SandboxBucketPolicy"]["Properties"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    (rule,) = [rule for rule in properties["LifecycleConfiguration"]["Rules"] if rule.get("Prefix") == PREFIX]
    users = {name for name, allowed in _allowed(template, "s3:").items() if "SandboxBucket" in str(allowed)}

    assert ("Deny", {"Bool": {"aws:SecureTransport": False}}) == (statement["Effect"], statement["Condition"])
    assert [True] * 4 == list(properties["PublicAccessBlockConfiguration"].values())
    assert "ServerSideEncryptionByDefault" in properties["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    assert ("Enabled", 1) == (rule["Status"], rule["ExpirationInDays"])
    assert {"SandboxCtlFunction"} == users


def test_commands_are_limited_as_promised(template):
    """60 a minute, unless a stack says otherwise; and browsers may make all the calls there are."""
    api = template["Resources"]["HttpApi"]["Properties"]["CorsConfiguration"]["If"][1]

    assert 60 == template["Parameters"]["ExecsPerMinute"]["Default"]
    assert {"GET", "POST", "PUT", "DELETE"} <= set(api["AllowMethods"])
    assert {"authorization", "content-type", "prefer"} <= set(api["AllowHeaders"])


def test_only_sandbox_ctl_reads_the_flags_and_no_function_writes_them(template):
    """Of this stack's configuration alone; a switch is an operator's."""
    allowed = _allowed(template, "appconfig:")
    (statement,) = allowed.pop("SandboxCtlFunction")
    assert {"appconfig:StartConfigurationSession", "appconfig:GetLatestConfiguration"} == set(_actions(statement))
    assert all(f"${{{name}}}" in str(statement["Resource"]) for name in ("FlagsApplication", "FlagsProfile"))
    assert not any(allowed.values())


def test_flags_are_switched_at_once(template):
    """No time passes until everybody has them, nor until the next switch."""
    strategy = template["Resources"]["FlagsAtOnce"]["Properties"]
    assert (0, 0) == (strategy["DeploymentDurationInMinutes"], strategy["FinalBakeTimeInMinutes"])


def test_row_that_does_not_open_raises_an_alarm(template, monkeypatch, capsys):
    """What the function that opens rows counts is what is watched: an alarm sees exactly its own dimensions."""
    alarm = template["Resources"]["VaultUnreadableAlarm"]["Properties"]
    common = template["Globals"]["Function"]["Environment"]["Variables"]
    for name, value in (common | functions(template)["SandboxCtlFunction"]["Environment"]["Variables"]).items():
        if name.startswith("POWERTOOLS_"):
            monkeypatch.setenv(name, value)
    count("VaultUnreadable")
    counted = json.loads(capsys.readouterr().out)
    (metric,) = counted["_aws"]["CloudWatchMetrics"]
    ((*dimensions,),) = metric["Dimensions"]

    assert (metric["Namespace"], metric["Metrics"][0]["Name"]) == (alarm["Namespace"], alarm["MetricName"])
    watched = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
    assert {name: counted[name] for name in dimensions} == watched
    assert 1 == alarm["Threshold"]


def _allowed(template, prefix):
    """Return what each function is allowed of a service."""
    return {
        name: [
            statement
            for policy in properties["Policies"]
            for statement in _statements(policy)
            if any(action.startswith(prefix) for action in _actions(statement))
        ]
        for name, properties in functions(template).items()
    }


def _statements(policy):
    statements = policy.get("Statement", [])
    return statements if isinstance(statements, list) else [statements]


def _actions(statement):
    action = statement["Action"]
    return action if isinstance(action, list) else [action]
