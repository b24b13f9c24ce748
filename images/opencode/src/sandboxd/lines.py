"""Answers that are lines of JSON."""

from starlette.responses import StreamingResponse


class Lines(StreamingResponse):
    """A body of JSON lines, sent as they come."""

    media_type = "application/x-ndjson"
