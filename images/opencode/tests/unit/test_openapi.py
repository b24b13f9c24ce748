"""The contract that callers test against."""

from pathlib import Path

from sandboxd.openapi import document


def test_the_document_does_not_drift() -> None:
    """After a wanted change: ``python -m sandboxd.openapi > openapi.json``, and a line in the changelog."""
    committed = Path(__file__).parents[2] / "openapi.json"

    assert committed.read_text() == document()
