"""
Work the demo model does with tools. A task is a row of steps; how many tools have answered says which one is next.

    run: ls -la                     bash; several of them: "run: date then run: uptime"
    write hello.py and run it       write, bash
    write notes.txt: some text      write
    read hello.py                   read
    ask me which colour I like      question
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from local.demo.answers import Call
from local.demo.requests import ChatRequest

RUN = re.compile(r"^\s*(?:run:|\$)\s*(.+)", re.IGNORECASE | re.DOTALL)
THEN_RUN = re.compile(r"\s*(?:,|;)?\s*\bthen run:\s*", re.IGNORECASE)
WRITE = re.compile(
    r"^\s*(?:write|create|make)\s+(?:a file )?([\w./-]+\.\w+)(?:\s*:\s*(.+)|\b(.*))", re.IGNORECASE | re.DOTALL
)
READ = re.compile(r"^\s*(?:read|show|open)\s+([\w./-]+\.?[\w-]*)\s*$", re.IGNORECASE)
ASK = re.compile(r"^\s*ask me:?\s*(.*)", re.IGNORECASE | re.DOTALL)

SAMPLES = {
    "py": 'print("Hello from {name}")\nprint("6 * 7 =", 6 * 7)\n',
    "js": 'console.log("Hello from {name}");\n',
    "sh": 'echo "Hello from {name}"\n',
}
RUNNERS = {"py": "python3", "js": "node", "sh": "sh"}
SHOWN_LINES = 12
COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to call, one after another, each with a word before it; and what to say of the results in the end."""

    steps: tuple[tuple[str, Call], ...]
    report: Callable[[list[str]], str]


def find_task(request: ChatRequest) -> Task | None:
    """The work that the user's last message asks for, if it asks for any."""
    text = request.said[-1] if request.said else ""
    if match := RUN.match(text):
        return _run([command.strip() for command in THEN_RUN.split(match[1])])
    if (match := ASK.match(text)) is not None:
        return _ask(match[1].strip())
    if match := WRITE.match(text):
        return _write(request, match[1], content=match[2], run="run" in (match[3] or "").lower())
    if match := READ.match(text):
        call = Call(tool="read", arguments={"filePath": request.path(match[1])})
        return Task(steps=((f"I look into `{match[1]}`.", call),), report=lambda results: _read_report(results[-1]))
    return None


def _run(commands: list[str]) -> Task:
    beginnings = ("I run it in the sandbox.", *("And the next one.",) * len(commands))
    steps = tuple((words, _bash(command)) for words, command in zip(beginnings, commands, strict=False))
    return Task(steps=steps, report=lambda results: _output_report(f"`{commands[-1]}`", results[-1]))


def _write(request: ChatRequest, name: str, *, content: str | None, run: bool) -> Task:
    ending = name.rpartition(".")[2]
    text = content or SAMPLES.get(ending, "Written by the demo model: {name}\n").format(name=name)
    path = request.path(name)
    write = Call(tool="write", arguments={"filePath": path, "content": text})
    steps = [(f"First I write `{name}`.", write)]
    if not run:
        return Task(steps=tuple(steps), report=lambda _: f"`{name}` is written, {len(text.splitlines())} lines long.")
    steps.append(("Now I run it.", _bash(f"{RUNNERS.get(ending, 'cat')} {path}")))
    return Task(steps=tuple(steps), report=lambda results: _output_report(f"`{name}`", results[-1]))


def _ask(about: str) -> Task:
    labels = COLOURS if re.search(r"colou?r", about, re.IGNORECASE) else ("Yes", "No", "Not sure")
    options = [{"label": label, "description": f"{label} it is"} for label in labels]
    asked = (about.rstrip("?.") or "shall I go on")[:200]
    question = {"question": asked[0].upper() + asked[1:] + "?", "header": "A question", "options": options}
    call = Call(tool="question", arguments={"questions": [question]})
    return Task(steps=(("One question first.", call),), report=lambda results: _answer_report(results[-1]))


def _bash(command: str) -> Call:
    return Call(tool="bash", arguments={"command": command})


def _output_report(what: str, result: str) -> str:
    lines = result.strip().splitlines()
    if not lines:
        return f"{what} ran and printed nothing."
    shown = "\n".join(lines[-SHOWN_LINES:]).replace("```", "'''")
    count = f"{len(lines)} line{'' if len(lines) == 1 else 's'}"
    return f"{what} printed {count}{', the last of them' if len(lines) > SHOWN_LINES else ''}:\n\n```\n{shown}\n```"


def _read_report(result: str) -> str:
    return f"I have read it: {len(result.splitlines())} lines came back, beginning with `{result.strip()[:60]!r}`."


def _answer_report(result: str) -> str:
    answers = re.findall(r'"="([^"]*)"', result)
    return f"You chose **{'**, **'.join(answers)}**. I will remember." if answers else f"Your answer: {result}"
