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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A fact's own words go with it into reports: the first line of its docstring."""
    for item in items:
        if item.get_closest_marker("facts") and isinstance(item, pytest.Function):
            words = (item.function.__doc__ or item.name).strip().splitlines()[0]
            item.user_properties.append(("fact", words))
