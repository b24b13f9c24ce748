"""The error tree."""

from sandboxd import errors
from sandboxd.errors import SandboxdError


def test_every_error_has_a_code_of_its_own_and_is_in_the_picture() -> None:
    """Callers tell errors apart by code; readers find them in the module's docstring."""
    classes: list[type[SandboxdError]] = [SandboxdError, *SandboxdError.__subclasses__()]

    assert len({error.code for error in classes}) == len(classes)
    assert errors.__doc__ is not None
    for error in classes:
        assert f"{error.__name__} " in errors.__doc__
        assert f" {error.code}\n" in errors.__doc__
