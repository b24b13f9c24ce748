"""Reading template.yaml."""

from typing import Any

import yaml

from local.stack.layout import CHECKOUT

TEMPLATE = CHECKOUT / "template.yaml"


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's tags (!Ref and its siblings) as what is behind them."""


def _tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    if isinstance(node, yaml.MappingNode):
        return {suffix: loader.construct_mapping(node, deep=True)}
    raise TypeError(node)


_Loader.add_multi_constructor("!", _tag)


def read_template() -> dict[str, Any]:
    """The template, a tag being a dictionary: ``{"Ref": …}``, ``{"GetAtt": "Name.Attribute"}``."""
    template: dict[str, Any] = yaml.load(TEMPLATE.read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader with CloudFormation's tags
    return template
