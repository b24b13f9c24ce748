"""Fixtures that unit and integration tests share."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """sandboxd runs on asyncio, and so do its tests."""
    return "asyncio"
