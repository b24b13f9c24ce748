"""
What the agent may do: by the thread's tool policy, and without asking.

The sandbox is the fence: inside it an agent that may write works freely. It asks before what leaves the workspace or
cannot be taken back. The last rule that matches counts, those of the configuration after OpenCode's own; a tool that is
denied whatever it is given is not even offered to the model; a command of several parts is held against the rules part
by part (measured, opencode 1.18.33).
"""

from collections.abc import Mapping
from enum import StrEnum

Rules = dict[str, object]


class ToolPolicy(StrEnum):
    """What the thread's user lets the agent do."""

    NONE = "none"
    READ_ONLY = "read-only"
    READ_WRITE = "read-write"


# Each by its name as well: where OpenCode merges what it was told before with this, a rule of the same name keeps its
# earlier place, and would count if there were none of that name here.
NOTHING: Rules = dict.fromkeys(
    (
        "*",
        "bash",
        "codesearch",
        "doom_loop",
        "edit",
        "external_directory",
        "glob",
        "grep",
        "list",
        "lsp",
        "question",
        "read",
        "skill",
        "task",
        "todowrite",
        "webfetch",
        "websearch",
    ),
    "deny",
)
PERMISSIONS: Mapping[ToolPolicy, Rules] = {
    ToolPolicy.NONE: NOTHING,
    ToolPolicy.READ_ONLY: NOTHING
    | {
        # As OpenCode has it where nothing else is said.
        "read": {"*": "allow", "*.env": "ask", "*.env.*": "ask", "*.env.example": "allow"},
        "glob": "allow",
        "grep": "allow",
        "list": "allow",
        "question": "allow",
        "todowrite": "allow",
        "external_directory": "ask",
        "doom_loop": "ask",
    },
    ToolPolicy.READ_WRITE: {
        "edit": "allow",
        "bash": {
            "*": "allow",
            "git push*": "ask",
            "npm publish*": "ask",
            "rm -rf *": "ask",
            "rm -fr *": "ask",
        },
        "webfetch": "ask",
        "external_directory": "ask",
        "doom_loop": "ask",
    },
}
