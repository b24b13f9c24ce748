"""What OpenCode says of a model that failed, in our words."""

from http import HTTPStatus
from typing import Any

from threadbox.errors import ModelError, ModelRateLimitedError, ModelUnauthorizedError, ModelUnknownError

NONSENSE = "The model answered with something that is no answer. Please try again."
RAN_OUT = "The ChatGPT connection ran out in the middle of the answer. Please send your message again."
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def model_error(error: dict[str, Any]) -> ModelError:
    """
    Return the error of a turn whose model failed, for OpenCode's ``{"name", "data": {"message", "statusCode"?}}``.

    The vendor's message stays where it is: it may quote the key. Only by their wording can an unknown model and an
    answer that is no answer be told apart (measured, opencode 1.18.33).
    """
    data = error.get("data") or {}
    status, message = data.get("statusCode"), str(data.get("message", ""))
    if "Token refresh failed" in message:
        return ModelUnauthorizedError(RAN_OUT)
    if status in REFUSED:
        return ModelUnauthorizedError(
            f"The model's provider refused the key ({status}). Check the key, then try again."
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return ModelRateLimitedError("The model's provider is refusing requests for now (429). Try again in a while.")
    if "Model not found" in message:
        return ModelUnknownError("There is no such model. Choose another one and try again.")
    if "JSON parsing failed" in message:
        return ModelError(NONSENSE)
    code = f" ({status})" if isinstance(status, int) else ""
    return ModelError(f"The model could not answer{code}. Please try again.")
