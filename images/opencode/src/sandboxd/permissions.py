"""
What the agent may do without asking.

The sandbox is the fence: inside it the agent works freely. It asks before what leaves the workspace or cannot be taken
back. The last rule that matches counts; a command of several parts is held against the rules part by part (measured,
opencode 1.18.33).
"""

PERMISSIONS: dict[str, object] = {
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
}
