"""
Sealing a grant's tokens for storage (envelope encryption).

::

    KMS ──GenerateDataKey, encryption context──▶ data key ──AES-256-GCM, additional data──▶ ciphertext

Encryption context and additional data say what the tokens belong to. A row that was moved, mixed or changed does not
open: KMS refuses the context, and where it does not, the tag does not fit. The context stands in CloudTrail in the
clear, so thread and owner are in it as hashes.

Sealing takes ``kms:GenerateDataKey`` and opening ``kms:Decrypt``: whoever may do the one need not be able to do the
other (https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#enveloping).
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from threadbox.errors import VaultUnavailableError, VaultUnreadableError
from threadbox.identifiers import opaque_hash
from threadbox.measures import count
from threadbox.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

SCHEMAS: dict[int, tuple[str, ...]] = {
    1: ("thread_id", "owner", "provider"),
    2: ("thread_id", "owner", "provider", "account_id", "expires_at"),
}
"""What the additional data of each schema version binds; rows of any of them can be opened."""
CURRENT_SCHEMA = 2
"""The one that is sealed with. It binds what stands beside the tokens in the clear, too."""
NONCE_BYTES = 12
RETRY_AFTER = 5
UNREADABLE = "The stored sign-in cannot be opened just now. Disconnect and sign in again if this stays so."

# boto3 wraps what DynamoDB calls binary.
Binary = Annotated[bytes, BeforeValidator(lambda value: bytes(getattr(value, "value", value)))]


class Tokens(BaseModel):
    """What is sealed."""

    model_config = ConfigDict(frozen=True)

    access_token: SecretStr = Field(min_length=1)
    refresh_token: SecretStr = Field(min_length=1)


class Binding(BaseModel):
    """What tokens belong to; ``expires_at`` is the access token's end (epoch seconds)."""

    model_config = ConfigDict(frozen=True)

    thread_id: str
    owner: str
    provider: str
    account_id: str
    expires_at: int


class Sealed(BaseModel):
    """Sealed tokens, as they are stored: which schema and KMS key they are under, the sealed data key, the rest."""

    model_config = ConfigDict(frozen=True)

    schema_version: int
    key_id: str
    data_key: Binary
    nonce: Binary
    ciphertext: Binary


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key for one sealing, in the clear and sealed under the KMS key of that id."""

    plaintext: bytes
    sealed: bytes
    key_id: str
    schema_version: int

    def seal(self, tokens: Tokens, binding: Binding) -> Sealed:
        """Seal *tokens*; asks nobody, so that nothing can come between having new tokens and keeping them."""
        said = {name: secret.get_secret_value() for name, secret in tokens}
        nonce = os.urandom(NONCE_BYTES)
        bound = _additional_data(binding, self.schema_version, self.key_id)
        return Sealed(
            schema_version=self.schema_version,
            key_id=self.key_id,
            data_key=self.sealed,
            nonce=nonce,
            ciphertext=AESGCM(self.plaintext).encrypt(nonce, json.dumps(said).encode(), bound),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealer:
    """Seals under one KMS key."""

    kms: "KMSClient"
    key_id: str
    schema_version: int = CURRENT_SCHEMA

    def data_key(self, *, thread_id: str, owner: str, provider: str) -> DataKey:
        """
        Return a new key that seals the tokens of one thread, owner and provider.

        Raises:
            VaultUnavailableError: KMS gives none.
        """
        context = _encryption_context(thread_id, owner, provider, self.schema_version)
        try:
            answer = self.kms.generate_data_key(KeyId=self.key_id, KeySpec="AES_256", EncryptionContext=context)
        except (ClientError, BotoCoreError) as exc:
            count("VaultUnavailable")
            logger.error("vault unavailable", thread_id=thread_id, cause=_cause(exc))
            raise VaultUnavailableError("The sign-in cannot be stored just now.", retry_after=RETRY_AFTER) from exc
        return DataKey(answer["Plaintext"], answer["CiphertextBlob"], answer["KeyId"], self.schema_version)

    def seal(self, tokens: Tokens, binding: Binding) -> Sealed:
        """
        Seal *tokens* under a key of their own.

        Raises:
            VaultUnavailableError: KMS gives none.
        """
        key = self.data_key(thread_id=binding.thread_id, owner=binding.owner, provider=binding.provider)
        return key.seal(tokens, binding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """Opens what was sealed; *unreadable* is called for each row that does not open."""

    kms: "KMSClient"
    unreadable: Callable[[], None]

    def open(self, stored: Mapping[str, object] | None, binding: Binding) -> Tokens:
        """
        Return the tokens of a row, whose sealed part is *stored* as :class:`Sealed` dumps itself.

        Raises:
            VaultUnreadableError: they do not belong to *binding*, were changed, or KMS does not open their key.
        """
        try:
            sealed = Sealed.model_validate(stored)
            bound = _additional_data(binding, sealed.schema_version, sealed.key_id)
            said = AESGCM(self._data_key(sealed, binding)).decrypt(sealed.nonce, sealed.ciphertext, bound)
            return Tokens.model_validate_json(said)
        except (InvalidTag, ValueError, LookupError, ClientError, BotoCoreError) as exc:
            self.unreadable()
            logger.error("vault unreadable", thread_id=binding.thread_id, cause=_cause(exc))
            # Without its cause, whose text may repeat a token.
            raise VaultUnreadableError(UNREADABLE, retry_after=RETRY_AFTER) from None

    def _data_key(self, sealed: Sealed, binding: Binding) -> bytes:
        context = _encryption_context(binding.thread_id, binding.owner, binding.provider, sealed.schema_version)
        answer = self.kms.decrypt(CiphertextBlob=sealed.data_key, KeyId=sealed.key_id, EncryptionContext=context)
        return answer["Plaintext"]


def _cause(error: Exception) -> str:
    """Return what is said of a cause in the log: KMS's error code, or the kind of failure."""
    code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
    return code or type(error).__name__


def _additional_data(binding: Binding, schema_version: int, key_id: str) -> bytes:
    bound = (getattr(binding, name) for name in SCHEMAS[schema_version])
    return json.dumps([schema_version, key_id, *bound]).encode()


def _encryption_context(thread_id: str, owner: str, provider: str, schema_version: int) -> dict[str, str]:
    return {
        "thread": opaque_hash(thread_id),
        "owner": opaque_hash(owner),
        "provider": provider,
        "schema": str(schema_version),
    }
