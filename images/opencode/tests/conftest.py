"""Fixtures that unit and integration tests share."""

import hypothesis
import pytest

# How long an example takes, and how it is found again, is left out of what a test decides.
hypothesis.settings.register_profile("house", deadline=None, database=None)
hypothesis.settings.load_profile("house")


@pytest.fixture
def anyio_backend() -> str:
    """sandboxd runs on asyncio, and so do its tests."""
    return "asyncio"
