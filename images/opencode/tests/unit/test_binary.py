"""Which build of OpenCode is run."""

import platform
from pathlib import Path

import pytest

from sandboxd.binary import find_binary


def install(node_modules: Path, *names: str) -> None:
    for name in names:
        binary = node_modules / name / "bin" / "opencode"
        binary.parent.mkdir(parents=True)
        binary.touch()


@pytest.mark.parametrize(
    ("flags", "build"), [("sse avx2", "opencode-linux-x64"), ("sse", "opencode-linux-x64-baseline")]
)
def test_a_processor_without_avx2_gets_the_baseline_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, build: str
) -> None:
    """The other one would end with an illegal instruction there."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    install(tmp_path, "opencode-linux-x64", "opencode-linux-x64-baseline")

    assert find_binary(tmp_path, cpuinfo=f"flags : {flags} fpu\n") == tmp_path / build / "bin" / "opencode"


def test_a_binary_is_taken_as_it_is(tmp_path: Path) -> None:
    """The image names it outright."""
    binary = tmp_path / "opencode"
    binary.touch()

    assert find_binary(binary) == binary


def test_none_is_an_error(tmp_path: Path) -> None:
    """Neither in an empty directory nor at a path that is not there."""
    for path in (tmp_path, tmp_path / "opencode"):
        with pytest.raises(FileNotFoundError):
            find_binary(path)
