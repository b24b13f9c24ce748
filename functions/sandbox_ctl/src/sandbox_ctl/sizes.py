"""What a sandbox may have of processor and memory, by names that the template lists."""

from dataclasses import dataclass
from typing import Self

from threadbox.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Size:
    """A size: ``cpu`` in 1024ths of a processor, ``memory`` in MiB, as Fargate takes them together."""

    name: str
    cpu: str
    memory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Those there are, and the one for whoever names none."""

    default: Size
    by_name: dict[str, Size]

    @classmethod
    def parse(cls, listed: str, *, default: str) -> Self:
        """
        Read ``name=cpu/memory`` for each, separated by commas.

        Raises:
            ValueError: that is no such list, or *default* is not in it.
        """
        by_name = {}
        for entry in listed.split(","):
            name, _, both = entry.strip().partition("=")
            cpu, _, memory = both.partition("/")
            if not (name and cpu.isdigit() and memory.isdigit()):
                raise ValueError(f"not a size: {entry!r}")
            by_name[name] = Size(name, cpu, memory)
        if default not in by_name:
            raise ValueError(f"{default!r} is none of the sizes {', '.join(by_name)}")
        return cls(default=by_name[default], by_name=by_name)

    def get(self, name: str) -> Size:
        """
        Return the size of that name.

        Raises:
            InvalidRequestError: there is none.
        """
        if name not in self.by_name:
            raise InvalidRequestError(f"There is no such size; there are {', '.join(self.by_name)}.")
        return self.by_name[name]

    def known(self, name: str | None) -> Size:
        """Return the size of that name; the default when there is none of it, or not any more."""
        return self.by_name.get(name or "", self.default)
