"""Who reaches whom in the network that the template makes, and by what way they go out."""

from ipaddress import collapse_addresses, ip_network

import pytest
from botocore.config import Config
from botocore.session import Session

# Private, shared, loopback, link-local, multicast and reserved: nothing there is the internet.
NOT_PUBLIC = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8"),
    *("169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3"),
]
RULES_OF_A_GROUP = 60
VPC_SERVICES = ("appconfigdata", "ecs", "kms", "lambda", "secretsmanager", "stepfunctions")


@pytest.fixture(scope="module")
def resources(template):
    return template["Resources"]


def properties(resources, kind):
    return {name: r["Properties"] for name, r in resources.items() if r["Type"] == kind and "Properties" in r}


def test_sandboxes_are_called_by_functions_alone_on_one_port(resources):
    """Not by each other, nor by anything else that is or will be in the network."""
    (rule,) = resources["SandboxesGroup"]["Properties"]["SecurityGroupIngress"]
    assert ({"Ref": "FunctionsGroup"}, 4096, 4096, "tcp") == (
        rule["SourceSecurityGroupId"],
        rule["FromPort"],
        rule["ToPort"],
        rule["IpProtocol"],
    )
    assert not properties(resources, "AWS::EC2::SecurityGroupIngress")


def test_sandboxes_reach_the_internet_alone(resources):
    """Every public address, and none of a network's; a security group has room for so many."""
    (rule,) = resources["SandboxesGroup"]["Properties"]["SecurityGroupEgress"]
    public = resources["PublicAddresses"]["Properties"]
    listed = [ip_network(entry["Cidr"]) for entry in public["Entries"]]

    assert {"Ref": "PublicAddresses"} == rule["DestinationPrefixListId"]
    assert not {"CidrIp", "CidrIpv6", "DestinationSecurityGroupId"} & rule.keys()
    assert [ip_network("0.0.0.0/0")] == list(collapse_addresses([*listed, *map(ip_network, NOT_PUBLIC)]))
    assert not [one for one in listed if any(one.overlaps(ip_network(other)) for other in NOT_PUBLIC)]
    assert len(listed) == public["MaxEntries"] <= RULES_OF_A_GROUP
    assert not [
        rule
        for rule in properties(resources, "AWS::EC2::SecurityGroupEgress").values()
        if rule["GroupId"] == {"Ref": "SandboxesGroup"}
    ]


def test_network_is_where_the_internet_is_not(resources):
    """So that what sandboxes reach cannot be in it; and no two subnets overlap."""
    network = ip_network(resources["Vpc"]["Properties"]["CidrBlock"])
    subnets = [ip_network(subnet["CidrBlock"]) for subnet in properties(resources, "AWS::EC2::Subnet").values()]

    assert any(network.subnet_of(ip_network(other)) for other in NOT_PUBLIC)
    assert all(subnet.subnet_of(network) for subnet in subnets)
    assert not [(a, b) for a in subnets for b in subnets if a is not b and a.overlaps(b)]


def test_functions_are_called_by_nobody_and_call_sandboxes_and_https(resources):
    """Nothing in the network reaches a function."""
    group = resources["FunctionsGroup"]["Properties"]
    (to_sandboxes,) = properties(resources, "AWS::EC2::SecurityGroupEgress").values()

    assert "SecurityGroupIngress" not in group
    assert {443} == {port for rule in group["SecurityGroupEgress"] for port in (rule["FromPort"], rule["ToPort"])}
    assert ({"Ref": "FunctionsGroup"}, {"Ref": "SandboxesGroup"}, 4096) == (
        to_sandboxes["GroupId"],
        to_sandboxes["DestinationSecurityGroupId"],
        to_sandboxes["ToPort"],
    )


def test_nothing_costs_by_the_hour_unless_it_is_asked_for(resources):
    """A NAT gateway and its address are there with Egress=nat alone, and no endpoint is one of those that cost."""
    for kind in ("AWS::EC2::NatGateway", "AWS::EC2::EIP"):
        assert {"UsesNat"} == {resource["Condition"] for resource in resources.values() if resource["Type"] == kind}
    endpoints = properties(resources, "AWS::EC2::VPCEndpoint")
    assert {"Gateway"} == {endpoint["VpcEndpointType"] for endpoint in endpoints.values()}
    assert {"dynamodb", "s3"} == {endpoint["ServiceName"]["Sub"].rsplit(".", 1)[1] for endpoint in endpoints.values()}


def test_no_network_is_made_in_ones_own(template, resources):
    """Each of EC2's resources is behind a condition that is false then, but the groups in a VPC that is named."""
    conditions = template["Conditions"]
    assert {"Not": [{"Equals": [{"Ref": "Egress"}, "own"]}]} == conditions["MakesVpc"]
    assert {"Equals": [{"Ref": "Egress"}, "nat"]} == conditions["UsesNat"]
    assert {"Equals": [{"Ref": "Egress"}, "dualstack"]} == conditions["IsDualstack"]
    assert {"Or": [{"Condition": "MakesVpc"}, {"Not": [{"Equals": [{"Ref": "VpcId"}, ""]}]}]} == conditions["HasVpc"]
    made = {name: r.get("Condition") for name, r in resources.items() if r["Type"].startswith("AWS::EC2::")}
    groups = {"FunctionsGroup", "FunctionsToSandboxes", "SandboxesGroup", "PublicAddresses"}
    assert {"MakesVpc", "UsesNat", "IsDualstack"} == {made[name] for name in made.keys() - groups}
    assert {"HasVpc"} == {made[name] for name in groups}


def test_each_private_subnet_has_one_way_out_per_mode(resources):
    """With Egress=dualstack and with Egress=nat; and no way in."""
    ways = {}
    for name, route in properties(resources, "AWS::EC2::Route").items():
        gateway = next(value["Ref"] for key, value in route.items() if key.endswith("GatewayId") or key == "GatewayId")
        ways[(route["RouteTableId"]["Ref"], resources[name]["Condition"])] = gateway
    assert {
        ("FunctionRoutes", "IsDualstack"): "EgressGateway",
        ("SandboxRoutes", "IsDualstack"): "InternetGateway",
        ("FunctionRoutes", "UsesNat"): "NatGateway",
        ("SandboxRoutes", "UsesNat"): "NatGateway",
        ("NatRoutes", "UsesNat"): "InternetGateway",
    } == ways
    subnets = properties(resources, "AWS::EC2::Subnet")
    assert not any(subnet.get("MapPublicIpOnLaunch") for subnet in subnets.values())


def test_what_functions_call_over_ipv6_is_asked_for_by_a_name_that_has_such_addresses(template, monkeypatch):
    """By the two variables: DynamoDB at the name its gateway endpoint is for, everything else at dual-stack names."""
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    condition, dualstack, _ = variables["AWS_USE_DUALSTACK_ENDPOINT"]["If"]
    other_condition, dynamodb, _ = variables["AWS_ENDPOINT_URL_DYNAMODB"]["If"]
    assert ("IsDualstack", "IsDualstack") == (condition, other_condition)
    address = dynamodb["Sub"].replace("${AWS::Region}", "eu-central-1").replace("${AWS::URLSuffix}", "amazonaws.com")
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", dualstack)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", address)

    def called(service, **options):
        return Session().create_client(service, region_name="eu-central-1", **options).meta.endpoint_url

    assert "https://dynamodb.eu-central-1.amazonaws.com" == called("dynamodb")
    for service in VPC_SERVICES:
        assert called(service).endswith(".eu-central-1.api.aws"), service
    # That of the WebSocket API has addresses of both kinds, and is named as it is.
    assert "dualstack" == template["Resources"]["WebSocketApi"]["Properties"]["IpAddressType"]
    posts = "https://abc.execute-api.eu-central-1.amazonaws.com/live"
    assert posts == called("apigatewaymanagementapi", endpoint_url=posts)
    signed = Session().create_client("s3", region_name="eu-central-1", config=Config(signature_version="s3v4"))
    url = signed.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
    assert url.startswith("https://bucket.s3.dualstack.eu-central-1.amazonaws.com/k?")


def test_functions_may_speak_ipv6_where_it_is_their_only_way(template):
    """And get private subnets of the stack's network, or those that are given."""
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function" and "VpcConfig" in resource["Properties"]:
            condition, config, _ = resource["Properties"]["VpcConfig"]["If"]
            assert "HasVpc" == condition, name
            assert {"If": ["IsDualstack", True, False]} == config["Ipv6AllowedForDualStack"], name
            assert [{"Ref": "FunctionsGroup"}] == config["SecurityGroupIds"], name
            made = [{"Ref": "FunctionSubnetA"}, {"Ref": "FunctionSubnetB"}]
            given = {"Split": [",", {"Ref": "FunctionSubnets"}]}
            assert {"If": ["MakesVpc", made, given]} == config["SubnetIds"], name
