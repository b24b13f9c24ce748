"""What a sandbox may have of processor, memory and architecture, by names that the template lists."""

from dataclasses import dataclass
from typing import Self

from threadbox.errors import InvalidRequestError

# As a task definition's runtime platform names them.
X86_64, ARM64 = "X86_64", "ARM64"


@dataclass(frozen=True, slots=True)
class Size:
    """A size: ``cpu`` in 1024ths of a processor and ``memory`` in MiB, as Fargate takes them together."""

    name: str
    cpu: str
    memory: str
    architecture: str = X86_64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Those there are, and the one for whoever names none."""

    default: Size
    by_name: dict[str, Size]

    @classmethod
    def parse(cls, listed: str, *, default: str) -> Self:
        """
        Read ``name=cpu/memory`` for each, or ``name=cpu/memory/architecture``, separated by commas.

        Raises:
            ValueError: that is no such list, or *default* is not in it.
        """
        by_name = {}
        for entry in listed.split(","):
            name, _, both = entry.strip().partition("=")
            cpu, _, rest = both.partition("/")
            memory, _, architecture = rest.partition("/")
            size = Size(name, cpu, memory, architecture or X86_64)
            if not (name and cpu.isdigit() and memory.isdigit() and size.architecture in (X86_64, ARM64)):
                raise ValueError(f"not a size: {entry!r}")
            by_name[name] = size
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
