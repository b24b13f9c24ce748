"""What template.yaml says of its distribution, for the program that stands in for CloudFront here."""

import json
from collections.abc import Mapping
from typing import Any

PROGRAM = "edge.mjs"


def described(template: Mapping[str, Any], apis: Mapping[str, str]) -> str:
    """
    The distribution as ``edge.mjs`` reads it.

    *apis* are the addresses that the APIs have here, by the name of their resource; what the template's origins put
    between that and a path is kept.
    """
    resources = template["Resources"]
    distribution = resources["Distribution"]["Properties"]["DistributionConfig"]
    functions = {name: found["Properties"]["FunctionCode"] for name, found in resources.items() if _is_function(found)}
    origins = {
        origin["Id"]: next(url for name, url in apis.items() if f"${{{name}}}" in origin["DomainName"]["Sub"])
        + origin.get("OriginPath", "")
        for origin in distribution["Origins"]
    }
    behaviors = [
        {
            "path": behavior.get("PathPattern"),
            "origin": behavior["TargetOriginId"],
            "code": "".join(functions[name] for name in _associated(behavior)),
        }
        for behavior in (*distribution["CacheBehaviors"], distribution["DefaultCacheBehavior"])
    ]
    return json.dumps({"origins": origins, "behaviors": behaviors})


def _is_function(resource: Mapping[str, Any]) -> bool:
    return bool(resource["Type"] == "AWS::CloudFront::Function")


def _associated(behavior: Mapping[str, Any]) -> list[str]:
    """The functions that see the viewer's requests, by the name of their resource."""
    return [
        association["FunctionARN"]["GetAtt"].partition(".")[0]
        for association in behavior.get("FunctionAssociations", ())
        if association["EventType"] == "viewer-request"
    ]
