"""What a cold start takes before the first event, and how much is loaded for it; prints both (pytest -s)."""

import io
import zipfile
from pathlib import Path

import pytest

from bench.cold import BASE, measure, ratios, table

MOST = 1.5
"""Times the empty function's."""
FUNCTION_KB, LAYER_MB, UNPACKED_MB = 200, 30, 110
"""What a package may have; AWS takes 250 MB unpacked, function and layer together."""


@pytest.mark.long
def test_functions_start_nearly_as_soon_as_an_empty_one():
    """By the processor's time and by memory, in the same minutes on the same machine."""
    starts = measure(runs=7)
    print(table(starts))

    over = {
        name: (round(ratio.seconds, 2), round(ratio.megabytes, 2))
        for name, ratio in ratios(starts).items()
        if max(ratio.seconds, ratio.megabytes) > MOST and name != BASE
    }
    assert {} == over


def packed(folder: Path) -> tuple[float, float]:
    """The folder's size in KB as a zip, and unpacked."""
    file, unpacked = io.BytesIO(), 0
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
                unpacked += path.stat().st_size
    return len(file.getvalue()) / 1024, unpacked / 1024


def test_packages_are_small(stack, stack_state):
    """What `sam build` made: each function holds its own code alone, and the layer what they share."""
    build = stack_state / "build"
    sizes = {path.name: packed(path) for path in sorted(build.iterdir()) if path.is_dir()}
    for name, (zipped, unpacked) in sizes.items():
        print(f"{name:<24} {zipped:10.0f} KB zipped {unpacked:10.0f} KB unpacked")

    zipped, unpacked = sizes.pop("CommonLayer")
    assert (True, True) == (zipped < LAYER_MB * 1024, unpacked < UNPACKED_MB * 1024)
    assert {} == {name: size for name, size in sizes.items() if size[0] > FUNCTION_KB}
