"""The ``Prefer`` request header (RFC 7240), as far as a waiting call honours it."""

import re
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 7230's name for it
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_WORD = f"(?:{_TOKEN}|{_QUOTED})"
_PREFERENCE = re.compile(
    rf"(?P<name>{_TOKEN})(?:\s*=\s*(?P<value>{_WORD})?)?"
    rf"(?:\s*;\s*(?:{_TOKEN}(?:\s*=\s*{_WORD})?)?)*"
)
_SECONDS = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Preferences:
    """Whether an answer may be given later (``respond-async``), and for how many seconds to ``wait`` for it."""

    respond_async: bool = False
    wait: int | None = None

    @classmethod
    def parse(cls, header: str) -> "Preferences":
        """Return what *header* prefers. Of what stands twice the first counts; what is not understood is left out."""
        found: dict[str, str] = {}
        for element in _elements(header):
            match = _PREFERENCE.fullmatch(element.strip())
            if match:
                found.setdefault(match["name"].lower(), (match["value"] or "").strip('"'))
        wait = found.get("wait", "")
        return cls("respond-async" in found, int(wait) if _SECONDS.fullmatch(wait) else None)

    @property
    def any(self) -> bool:
        """Whether the caller would rather hear that it goes on than wait for the end."""
        return self.respond_async or self.wait is not None

    def seconds(self, most: float) -> float:
        """Return how long to wait, *most* at most: RFC 7240 counts ``respond-async, wait=n`` as n seconds' patience."""
        if self.wait is not None:
            return min(most, self.wait)
        return 0 if self.respond_async else most

    def applied(self) -> str:
        """Return the ``Preference-Applied`` header of the answer that it goes on."""
        named = ["respond-async"] if self.respond_async else []
        return ", ".join([*named, *([] if self.wait is None else [f"wait={self.wait}"])])


def _elements(header: str) -> list[str]:
    """Split at the commas that stand outside of quotes."""
    return re.findall(rf"(?:{_QUOTED}|[^,\"]|\")+", header)
