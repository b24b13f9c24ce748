"""The table of what holds for a version of OpenCode."""

import pytest

from local.contract import opencode
from local.contract.opencode import BROKE, NONSENSE, Fact, main, pinned_version, read_report, table

REPORT = """<testsuites><testsuite>
<testcase classname="integration.test_opencode_facts" name="test_a"><properties><property name="fact" value="One." />
</properties></testcase>
<testcase classname="integration.test_opencode_facts" name="test_b"><properties><property name="fact" value="Two." />
</properties><failure message="AssertionError: assert 404 == 200&#10;more">long text</failure></testcase>
<testcase classname="integration.test_aborts" name="test_c"><error message="failed on setup: it did not start" />
</testcase>
<testcase classname="integration.test_aborts" name="test_d"><skipped message="only root can" /></testcase>
</testsuite></testsuites>"""


def test_a_report_becomes_facts():
    """Each test is a fact in its own words; a failure and an error break it, by the first line of what they say."""
    assert list(read_report(REPORT)) == [
        Fact("opencode facts", "One."),
        Fact("opencode facts", "Two.", broken="AssertionError: assert 404 == 200"),
        Fact("aborts", "test_c", broken="failed on setup: it did not start"),
        Fact("aborts", "test_d", skipped="only root can"),
    ]


def test_the_table_says_what_broke():
    """Group by group, with the reason below, and a sum at its end."""
    text = table("1.2.3", list(read_report(REPORT)), seconds=7)

    assert "BROKE    Two.\n           AssertionError: assert 404 == 200" in text
    assert text.endswith("opencode-ai 1.2.3: 2 of 4 broke, 1 skipped (7 s)")
    assert table("1.2.3", [Fact("g", "One.")], seconds=7).endswith("opencode-ai 1.2.3: all 1 hold (7 s)")


@pytest.mark.parametrize("version", ["latest", "1.2", "--help", "1.2.3; rm -rf /", "../1.2.3"])
def test_what_is_no_version_gets_the_usage(version, capsys):
    """Nothing is installed for it, and the exit code tells it from a broken fact."""
    assert main(version) == NONSENSE
    assert "make opencode-contract [VERSION=X.Y.Z]" in capsys.readouterr().err


def test_nothing_asked_is_not_all_well(monkeypatch, tmp_path):
    """A run without a single fact is a failure, not a success."""
    monkeypatch.setattr(opencode, "INSTALLED", tmp_path)
    binary = tmp_path / pinned_version() / "node_modules" / "opencode-linux-x64" / "bin" / "opencode"
    binary.parent.mkdir(parents=True)
    binary.touch()
    monkeypatch.setattr(opencode, "run", lambda _modules: [])

    assert main("") == BROKE
