"""The demo model: what it says, how it says it, and the wire it says it on."""

import asyncio
import json
from collections.abc import Callable, MutableMapping
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from local.model import create_app

Ask = Callable[..., str]


class Clock:
    """Notes the waits instead of waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Instead of waiting."""
        self.waits.append(seconds)


class Client:
    """Calls the application in-process."""

    def __init__(self, app: Starlette) -> None:
        self._transport = httpx.ASGITransport(app)

    def get(self, path: str) -> httpx.Response:
        """The answer to a GET."""
        return asyncio.run(self._request("GET", path))

    def post(self, path: str, **body: object) -> httpx.Response:
        """The answer to a POST with what httpx takes as a body."""
        return asyncio.run(self._request("POST", path, **body))

    async def _request(self, method: str, path: str, **body: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://model") as client:
            return await client.request(method, path, **body)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(clock: Clock) -> Client:
    return Client(create_app(delay=0.01, sleep=clock.sleep))


@pytest.fixture
def ask(client: Client) -> Ask:
    def ask(*texts: str, model: str = "demo", system: str = "You are a coding agent.") -> str:
        messages = [{"role": "system", "content": system}]
        for text in texts:
            messages += [{"role": "assistant", "content": "Noted."}] if len(messages) > 1 else []
            messages.append({"role": "user", "content": text})
        answer = client.post("/v1/chat/completions", json={"model": model, "messages": messages})
        return str(answer.json()["choices"][0]["message"]["content"])

    return ask


def events(body: str) -> list[dict[str, Any]]:
    """The JSON of each server-sent event before the closing one."""
    lines = [line.removeprefix("data: ") for line in body.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def streamed(client: Client, text: str, **more: object) -> list[dict[str, Any]]:
    body = {"model": "demo", "messages": [{"role": "user", "content": text}], "stream": True, **more}
    answer = client.post("/v1/chat/completions", json=body)
    assert "text/event-stream" in answer.headers["content-type"]
    return events(answer.text)


def words(chunks: list[dict[str, Any]]) -> list[str]:
    deltas = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
    return [delta for delta in deltas if delta]


def test_the_models_are_listed(client: Client) -> None:
    """
    A client that lists models finds the one that answers and the one for titles.
    """
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["demo", "title"]


def test_it_repeats_what_it_is_told_to(ask: Ask) -> None:
    """
    ``say`` gives the text back as it is, over lines.
    """
    assert ask("say one two\n  three") == "one two\n  three"


def test_it_counts_the_users_messages(ask: Ask) -> None:
    """
    The count is of the user's messages alone, and one is singular.
    """
    assert ask("how many messages?") == "You have sent 1 message in this conversation."
    assert ask("a", "b", "how many messages now?") == "You have sent 3 messages in this conversation."


def test_it_remembers_the_conversation(ask: Ask) -> None:
    """
    It knows the first message and the one before.
    """
    assert ask("apples", "pears", "What did I say first?") == "Your first message was: “apples”"
    assert ask("apples", "pears", "What did I say before?") == "Before this you said: “pears”"


def test_the_same_question_gets_the_same_answer(client: Client) -> None:
    """
    Two equal requests are answered byte for byte alike.
    """
    body = {"model": "demo", "messages": [{"role": "user", "content": "tell me a joke"}], "stream": True}
    first, second = (client.post("/v1/chat/completions", json=body).text for _ in range(2))
    assert first == second


def test_it_reads_content_in_parts(client: Client) -> None:
    """
    Content may be a list of parts; what is no text is skipped.
    """
    parts = [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "say parts"}]
    body = {"model": "demo", "messages": [{"role": "user", "content": parts}]}
    assert client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"] == "parts"


def test_a_stream_comes_word_by_word(client: Client, clock: Clock) -> None:
    """
    One event per word, with the delay between two, the role first and the finish reason last.
    """
    chunks = streamed(client, "say one two three")

    assert words(chunks) == ["one ", "two ", "three"]
    assert clock.waits == [0.01, 0.01]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_usage_is_told_when_asked_for(client: Client) -> None:
    """
    ``include_usage`` adds an event without choices at the end.
    """
    chunks = streamed(client, "say one two", stream_options={"include_usage": True})

    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@pytest.mark.parametrize(
    ("text", "pace"), [("stream 500 words", 0.01), ("stream 500 words every 3 ms", 0.003)], ids=["usual", "given"]
)
def test_a_long_stream_is_numbered(client: Client, clock: Clock, text: str, pace: float) -> None:
    """
    ``stream N words`` lets a reader see a lost or doubled word, at a pace of its choice.
    """
    assert [f"word{n} " for n in range(1, 501)] == words(streamed(client, text))
    assert {pace} == set(clock.waits)


def test_words_are_as_long_as_is_asked(client: Client) -> None:
    """
    ``of N letters`` makes a large answer of few words.
    """
    first, second = words(streamed(client, "stream 2 words of 200 letters every 0 ms"))
    assert (first[:6], second[:6], len(first), len(second)) == ("word1x", "word2x", 201, 201)


def test_a_stream_without_pace_does_not_wait(client: Client, clock: Clock) -> None:
    """
    ``every 0 ms`` is as fast as the wire.
    """
    assert len(words(streamed(client, "stream 5000 words every 0 ms"))) == 5000
    assert clock.waits == []


@pytest.mark.parametrize(("text", "pause"), [("slow: a b", 60.0), ("slow 5: a b", 5.0)], ids=["usual", "given"])
def test_slow_pauses_after_the_first_word(client: Client, clock: Clock, text: str, pause: float) -> None:
    """
    The first word is out before the long pause begins.
    """
    assert words(streamed(client, text)) == ["Slowly: ", "a ", "b"]
    assert [pause, 0.01, 0.01] == clock.waits


@pytest.mark.parametrize("by", [{"model": "title"}, {"system": "You are a title generator. You output only a title."}])
def test_a_title_is_short(ask: Ask, by: dict[str, str]) -> None:
    """
    A title is asked for by the model's name or by OpenCode's prompt.
    """
    question = "Generate a title for this conversation:\n\nplease write me a small program in Python"
    assert ask(question, **by) == "Please write me a small program"


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"model":"demo","messages":[{"role":"pirate"}]}'])
def test_a_bad_request_is_refused(client: Client, body: str) -> None:
    """
    What is no chat request gets the API's kind of error.
    """
    answer = client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("text", ["", "   ", "a\n\n  b ", "  lead"])
def test_no_text_breaks_it(ask: Ask, text: str) -> None:
    """
    Any text gets an answer, and words joined give the text again.
    """
    assert ask(text)
    assert (text.strip() or "x") == ask("say " + (text.strip() or "x"))


class Turn:
    """One of the user's messages and what followed it, asked about again and again as OpenCode does."""

    def __init__(
        self, client: Client, text: str, tools: tuple[str, ...] = ("bash", "write", "read", "question")
    ) -> None:
        self._client = client
        self._tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in tools]
        self._messages: list[dict[str, Any]] = [
            {"role": "system", "content": "<env>\n  Working directory: /workspace\n</env>"},
            {"role": "user", "content": text},
        ]

    def step(self, result: str | None = None) -> dict[str, Any]:
        """The model's message, after *result* of its last call."""
        if result is not None:
            self._messages.append({"role": "tool", "tool_call_id": "c", "content": result})
        body = {"model": "demo", "messages": self._messages, "tools": self._tools}
        choice = self._client.post("/v1/chat/completions", json=body).json()["choices"][0]
        message: dict[str, Any] = choice["message"]
        assert choice["finish_reason"] == ("tool_calls" if "tool_calls" in message else "stop")
        self._messages.append(message)
        return message

    def call(self, result: str | None = None) -> tuple[str, dict[str, Any]]:
        """The tool that is called next, and its arguments."""
        function = self.step(result)["tool_calls"][0]["function"]
        return function["name"], json.loads(function["arguments"])


def test_it_runs_a_command_and_tells_what_came_of_it(client: Client) -> None:
    """
    The answer after a call is made of the tool's result.
    """
    turn = Turn(client, "run: ls -la")
    assert turn.call() == ("bash", {"command": "ls -la"})
    assert "```\nhello.py\n```" in turn.step("hello.py\n")["content"]


def test_it_takes_several_steps(client: Client) -> None:
    """
    Commands one after another, each a call of its own.
    """
    turn = Turn(client, "run: date then run: uptime")
    assert turn.call()[1] == {"command": "date"}
    assert turn.call("Monday")[1] == {"command": "uptime"}
    assert "up 3 days" in turn.step("up 3 days")["content"]


def test_it_writes_a_program_and_runs_it(client: Client) -> None:
    """
    Paths are absolute, in the directory that OpenCode names.
    """
    turn = Turn(client, "write hello.py and run it")
    tool, arguments = turn.call()
    assert (tool, arguments["filePath"]) == ("write", "/workspace/hello.py")
    assert "Hello from hello.py" in arguments["content"]
    assert turn.call("Wrote file successfully.") == ("bash", {"command": "python3 /workspace/hello.py"})
    assert "Hello from hello.py" in turn.step("Hello from hello.py\n")["content"]


def test_it_reads_and_asks(client: Client) -> None:
    """
    A file is read; a question has options, and the answer is used.
    """
    assert Turn(client, "read hello.py").call() == ("read", {"filePath": "/workspace/hello.py"})
    turn = Turn(client, "ask me which colour I like")
    tool, arguments = turn.call()
    assert (tool, arguments["questions"][0]["question"]) == ("question", "Which colour I like?")
    assert "Blue" in [option["label"] for option in arguments["questions"][0]["options"]]
    result = 'User has answered your questions: "Which colour I like?"="Blue". You can now continue.'
    assert turn.step(result)["content"] == "You chose **Blue**. I will remember."


def test_a_tool_that_is_not_offered_is_not_called(client: Client) -> None:
    """
    Without the tool it says so.
    """
    assert "not offered" in Turn(client, "run: ls", tools=()).step()["content"]


def test_a_call_is_streamed_as_the_api_does(client: Client) -> None:
    """
    Name and id first, then the arguments in pieces, then the reason for the end.
    """
    chunks = streamed(client, "run: echo a rather long command line", tools=[{"function": {"name": "bash"}}])
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["function"] == {"name": "bash", "arguments": ""}
    arguments = "".join(call["function"]["arguments"] for call in calls)
    assert json.loads(arguments) == {"command": "echo a rather long command line"}
    assert len(calls) > 2
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_thoughts_come_before_the_answer(client: Client) -> None:
    """
    ``think`` streams reasoning first, and counts it.
    """
    chunks = streamed(client, "think aloud about boxes", stream_options={"include_usage": True})
    kinds = [next(iter(chunk["choices"][0]["delta"]), "") for chunk in chunks[1:] if chunk["choices"]]
    assert kinds == sorted(kinds, key=["reasoning_content", "content", ""].index)
    assert "reasoning_content" in kinds
    assert "".join(words(chunks)) == "I have thought about boxes, and it is good."
    assert chunks[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] > 5


@pytest.mark.parametrize("status", [401, 429, 500])
def test_it_fails_with_a_status_on_request(client: Client, status: int) -> None:
    """
    ``fail N`` is answered with that status and the API's kind of error, each time.
    """
    body = {"model": "demo", "messages": [{"role": "user", "content": f"fail {status}"}], "stream": True}
    for _ in range(2):
        answer = client.post("/v1/chat/completions", json=body)
        assert (answer.status_code, set(answer.json()["error"])) == (status, {"message", "type", "code"})


def test_it_fails_once_on_request(client: Client) -> None:
    """
    With ``once`` the same request succeeds when it comes again.
    """
    body = {"model": "demo", "messages": [{"role": "user", "content": "fail 500 once"}], "stream": True}
    assert [client.post("/v1/chat/completions", json=body).status_code for _ in range(3)] == [500, 200, 200]


def test_a_cut_stream_has_no_end(clock: Clock) -> None:
    """
    Some words come, then nothing: the server, left without an end, closes the connection.
    """
    body = {"model": "demo", "messages": [{"role": "user", "content": "cut the stream"}], "stream": True}
    incoming = [{"type": "http.request", "body": json.dumps(body).encode()}]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return incoming.pop() if incoming else await asyncio.Event().wait() or {}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [], "query_string": b""}
    asyncio.run(create_app(delay=0.01, sleep=clock.sleep)(scope, receive, send))

    text = b"".join(message.get("body", b"") for message in sent)
    assert b"Some " in text
    assert b"[DONE]" not in text
    assert all(message["more_body"] for message in sent[1:])


def test_nonsense_is_no_stream(client: Client) -> None:
    """
    ``talk nonsense`` is a stream without JSON, or a page.
    """
    for text, kind in (("talk nonsense", "text/event-stream"), ("talk nonsense as html", "text/html")):
        body = {"model": "demo", "messages": [{"role": "user", "content": text}], "stream": True}
        answer = client.post("/v1/chat/completions", json=body)
        assert kind in answer.headers["content-type"]
        assert "[DONE]" not in answer.text
