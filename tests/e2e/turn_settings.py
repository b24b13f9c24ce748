"""Other settings for the turns of a running stack."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3

from local.stack.stack_file import StackFile

FUNCTION = "threadbox-chat-turn"


@contextmanager
def turn_settings(stack: StackFile, **variables: int) -> Iterator[None]:
    """Turns that begin inside have these settings, whoever's they are."""
    client = boto3.client("lambda", endpoint_url=stack.aws_url)
    usual = client.get_function_configuration(FunctionName=FUNCTION)["Environment"]["Variables"]

    def configure(changed: dict[str, str]) -> None:
        client.update_function_configuration(FunctionName=FUNCTION, Environment={"Variables": changed})

    configure(usual | {name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        configure(usual)
