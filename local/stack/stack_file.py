"""stack.json: where the stack answers. A contract with tests, scripts and the page."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from local.stack.ports import Ports


class StackFile(BaseModel):
    """What stack.json holds."""

    http_url: str
    ws_url: str
    edge_url: str
    """One address for both of them, as existing clients expect it."""
    web_url: str
    idp_url: str | None = None
    """The local identity provider; None where sign-in is with the real one."""
    aws_url: str
    """The embedded AWS, for boto3; any credentials do."""
    outputs: dict[str, str]
    """The outputs of template.yaml."""
    ports: dict[str, int]
    pids: dict[str, int] = {}

    @classmethod
    def of(cls, ports: Ports, outputs: dict[str, str], *, idp: bool) -> "StackFile":
        """The addresses that follow from the ports; *idp* tells whether the local identity provider is one of them."""
        aws = f"127.0.0.1:{ports['aws']}"
        return cls(
            http_url=f"http://{aws}/_aws/execute-api/{outputs['HttpApiId']}",
            ws_url=f"ws://127.0.0.1:{ports['gateway']}/_aws/execute-api/{outputs['WebSocketApiId']}/live",
            edge_url=f"http://127.0.0.1:{ports['edge']}",
            web_url=f"http://127.0.0.1:{ports['web']}",
            idp_url=f"http://127.0.0.1:{ports['idp']}" if idp else None,
            aws_url=f"http://{aws}",
            outputs=outputs,
            ports=ports.all(),
        )

    @classmethod
    def find(cls, path: Path) -> "StackFile | None":
        """What was written there last, if anything, and if it can still be read: another version may have done so."""
        try:
            return cls.model_validate_json(path.read_text()) if path.exists() else None
        except ValidationError:
            return None

    def write(self, path: Path) -> None:
        """Replace the file in one move, so that nobody reads half of it."""
        draft = path.with_suffix(".new")
        draft.write_text(self.model_dump_json(indent=2) + "\n")
        draft.replace(path)
