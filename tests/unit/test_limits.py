"""The page of limits says what the template has."""

import re
from pathlib import Path

import pytest

LIMITS = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
ROWS = re.findall(r"^\| .+ \| (\d+) \| `(\w+)` \|$", LIMITS, re.MULTILINE)


@pytest.mark.parametrize(("said", "parameter"), ROWS)
def test_limit_is_the_parameters_default(template, said, parameter):
    """Whoever reads it need not read the template."""
    assert int(said) == template["Parameters"][parameter]["Default"]


def test_every_limit_that_can_be_set_is_told(template):
    """A new one is found here."""
    told = {parameter for _, parameter in ROWS}
    limits = {
        name
        for name, parameter in template["Parameters"].items()
        if parameter["Type"] == "Number" and re.search(r"Per(User|Thread|Minute|Hour)$|Seconds$", name)
    }
    assert limits - {"HandoverSeconds"} == told
    assert "`HandoverSeconds`" in LIMITS
