"""What the demo model says when nothing is to be done: answers about the conversation."""

import re

TITLE_WORDS = 6
ECHO = re.compile(r"^\s*(?:say|echo|repeat)[: ]+(.+)", re.IGNORECASE | re.DOTALL)

HELP = (
    "I am the demo model: no intelligence, but always the same answer, and I really use the sandbox. Try:\n\n"
    "- `run: ls -la`, or `run: date then run: uptime` for two steps\n"
    "- `write hello.py and run it`, then `read hello.py`\n"
    "- `ask me which colour I like`\n"
    "- `think aloud about boxes`\n"
    "- `say …`, `how many messages?`, `what did I say first?`, `tell me a joke`, `write a haiku`, `show me markdown`\n"
    "- `stream 200 words`, or `slow 5: take your time` for something to stop"
)
MARKDOWN = """## What a reply may hold

Some **bold**, some *italic*, `code` and a [link](https://opencode.ai).

1. First a plan
2. then the work
   - with details

```python
def greet(name: str) -> str:
    return f"Hello, {name}!"
```

| part | is it real? |
|---|---|
| the sandbox | yes |
| this model | no |

> The quieter the box, the better the thread."""
FACTS = (
    (r"^\s*(?:hi|hello|hey|good (?:morning|evening))\b", "Hello! " + HELP),
    (r"\bwho are you\b|\bwhat are you\b|\bwhat can you do\b|^\s*help\b", HELP),
    (r"\bmarkdown\b", MARKDOWN),
    (r"\bjoke\b", "A sandbox walks into a bar. The bar has no network, no secrets and ends after five idle minutes."),
    (r"\bhaiku\b", "Two sockets open  \nWords arrive one at a time  \nThen the quiet: done."),
    (r"\bmeaning of life\b", "42. The tests are deterministic, so it will be 42 tomorrow as well."),
    (r"\bthanks?\b|\bthank you\b", "You are welcome."),
)


def title(text: str) -> str:
    """A short name for a conversation that begins with *text*."""
    words = re.findall(r"[\w'-]+", text.rpartition("\n\n")[2])
    return " ".join(words[:TITLE_WORDS]).capitalize() or "A quiet conversation"


def talk(said: list[str]) -> str:
    """An answer to the last of the user's messages, *said*, oldest first."""
    last = said[-1].strip() if said else ""
    if echo := ECHO.match(last):
        return echo[1].strip()
    if re.search(r"\bhow many messages\b", last, re.IGNORECASE):
        return f"You have sent {len(said)} message{'' if len(said) == 1 else 's'} in this conversation."
    if re.search(r"\bsay first\b|\bfirst message\b", last, re.IGNORECASE):
        return f"Your first message was: “{said[0].strip()}”"
    if re.search(r"\bsay (?:before|last)\b|\b(?:last|previous) message\b", last, re.IGNORECASE) and len(said) > 1:
        return f"Before this you said: “{said[-2].strip()}”"
    for pattern, fact in FACTS:
        if re.search(pattern, last, re.IGNORECASE):
            return fact
    return f"You said: “{last}” That was message {len(said)} of this conversation, {len(last.split())} words long."


def thoughts(text: str) -> str:
    """What goes through its mind when it is told to think about *text*."""
    return (
        f"The user wants me to think about {text or 'something'}. First I count the words: {len(text.split())}. "
        "Then I look for a trap, and there is none. So a plain answer will do."
    )
