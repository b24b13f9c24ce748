"""Sealing and opening, with KMS in moto: what was sealed opens for what it belongs to, and for nothing else."""

import json

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from threadbox.errors import VaultUnavailableError, VaultUnreadableError
from threadbox.vault import CURRENT_SCHEMA, SCHEMAS, Binding, Opener, Sealed, Sealer, Tokens

BINDING = Binding(thread_id="t", owner="ann", provider="openai", account_id="acct-1", expires_at=1_800_003_600)
TOKENS = Tokens(access_token="at_secret", refresh_token="rt_secret")
OTHERS = {"thread_id": "u", "owner": "bob", "provider": "other", "account_id": "acct-2", "expires_at": 1_800_003_601}
DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Decrypt")
THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "Decrypt")
SILENT = ReadTimeoutError(endpoint_url="https://kms")
REUSED_FIXTURE = [HealthCheck.function_scoped_fixture]
text = st.text(min_size=1, max_size=200)
bindings = st.builds(
    Binding, thread_id=text, owner=text, provider=st.sampled_from(["openai", "other"]), account_id=st.text(),
    expires_at=st.integers(0, 2**53),
)  # fmt: skip


@pytest.fixture
def unreadable():
    return []


@pytest.fixture
def opener(kms, unreadable):
    return Opener(kms=kms, unreadable=lambda: unreadable.append(1))


@pytest.fixture
def sealer(kms, key_id):
    return Sealer(kms=kms, key_id=key_id)


def opens(opener, sealed, binding=BINDING):
    """Return whether it opens, to the tokens that were sealed."""
    try:
        return opener.open(sealed, binding) == TOKENS
    except VaultUnreadableError:
        return False


def variants(value):
    """Yield what a stored value is when one byte, or one digit, of it is another."""
    if isinstance(value, int):
        yield from (value + 1, value - 1, -value)
        return
    raw = value if isinstance(value, bytes) else value.encode()
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1
        yield bytes(changed) if isinstance(value, bytes) else changed.decode("latin-1")


@given(access=text, refresh=text, binding=bindings, other=bindings)
@settings(max_examples=60, deadline=None, suppress_health_check=REUSED_FIXTURE)
def test_what_is_sealed_opens_for_its_binding_only(sealer, opener, access, refresh, binding, other):
    """Whatever the tokens and whatever they belong to; one other field is another binding."""
    tokens = Tokens(access_token=access, refresh_token=refresh)
    sealed = sealer.seal(tokens, binding).model_dump()
    assert tokens == opener.open(sealed, binding)
    if other != binding:
        with pytest.raises(VaultUnreadableError):
            opener.open(sealed, other)


@pytest.mark.parametrize("name", Sealed.model_fields)
def test_each_byte_of_a_sealed_row_counts(sealer, opener, unreadable, name):
    """With any one of them changed the row does not open, and the metric counts each time."""
    sealed = sealer.seal(TOKENS, BINDING).model_dump()
    changed = list(variants(sealed[name]))

    assert [] == [value for value in changed if opens(opener, {**sealed, name: value})]
    assert len(changed) == len(unreadable)
    assert opens(opener, sealed)


@pytest.mark.parametrize("name", OTHERS)
def test_row_moved_elsewhere_does_not_open(sealer, opener, name):
    """Not in another thread, for another owner, provider or account, nor with another expiry beside it."""
    sealed = sealer.seal(TOKENS, BINDING).model_dump()
    assert not opens(opener, sealed, BINDING.model_copy(update={name: OTHERS[name]}))


def test_kms_refuses_a_moved_row_by_itself(sealer, kms):
    """The encryption context holds thread, owner, provider and schema, so that not only our tag decides."""
    sealed = sealer.seal(TOKENS, BINDING)
    for context in ({}, {"thread": "other"}):
        with pytest.raises(ClientError):
            kms.decrypt(CiphertextBlob=sealed.data_key, KeyId=sealed.key_id, EncryptionContext=context)


@pytest.mark.parametrize("version", SCHEMAS)
def test_every_schema_version_opens(kms, key_id, opener, version):
    """A row of an older schema does; what binds less is bound no less to thread, owner and provider."""
    sealed = Sealer(kms=kms, key_id=key_id, schema_version=version).seal(TOKENS, BINDING).model_dump()
    assert opens(opener, sealed)
    for name in ("thread_id", "owner", "provider"):
        assert not opens(opener, sealed, BINDING.model_copy(update={name: OTHERS[name]}))


def test_schema_versions_cannot_be_swapped(kms, key_id, opener):
    """A row does not open as one of a version that binds less."""
    sealed = {v: Sealer(kms=kms, key_id=key_id, schema_version=v).seal(TOKENS, BINDING).model_dump() for v in SCHEMAS}
    assert not opens(opener, {**sealed[CURRENT_SCHEMA], "schema_version": 1})
    assert not opens(opener, {**sealed[1], "schema_version": CURRENT_SCHEMA})
    assert not opens(opener, {**sealed[1], "schema_version": 99})


@pytest.mark.parametrize("stored", [None, {}, {"schema_version": "x"}, {"ciphertext": b""}])
def test_row_without_what_was_sealed_does_not_open(opener, unreadable, stored):
    """Missing parts are no reason to take it for a row without tokens."""
    assert not opens(opener, stored)
    assert [1] == unreadable


@pytest.mark.parametrize("failure", [DENIED, THROTTLED, SILENT])
def test_kms_that_does_not_answer_fails_closed(sealer, opener, kms, unreadable, failure):
    """Denied, throttled or silent: nothing opens, nothing is sealed, and both are said."""
    sealed = sealer.seal(TOKENS, BINDING).model_dump()
    kms.failure = failure
    assert not opens(opener, sealed)
    assert [1] == unreadable
    with pytest.raises(VaultUnavailableError):
        sealer.seal(TOKENS, BINDING)
    kms.failure = None
    assert opens(opener, sealed)


def test_each_row_has_a_data_key_and_a_nonce_of_its_own(sealer):
    """The same tokens sealed twice have nothing in common but the key's name and the schema."""
    first, second = (sealer.seal(TOKENS, BINDING) for _ in range(2))
    assert [] == [name for name in ("data_key", "nonce", "ciphertext") if getattr(first, name) == getattr(second, name)]


def test_sealing_takes_one_call_and_opening_another(sealer, opener, kms):
    """One GenerateDataKey, one Decrypt; whoever may call the one need not be able to call the other."""
    opener.open(sealer.seal(TOKENS, BINDING).model_dump(), BINDING)
    assert ["GenerateDataKey", "Decrypt"] == kms.calls


def test_nothing_of_the_tokens_can_be_read_off_a_row_or_an_error(sealer, opener, caplog):
    """Neither of a row, nor of a failure to open it, nor of how tokens print."""
    sealed = sealer.seal(TOKENS, BINDING)
    with pytest.raises(VaultUnreadableError) as failure:
        opener.open({**sealed.model_dump(), "nonce": b"0" * 12}, BINDING)
    shown = repr(sealed) + repr(TOKENS) + str(failure.value) + repr(failure.value.__cause__) + caplog.text
    assert failure.value.__suppress_context__
    assert "secret" not in shown
    assert "secret" not in json.dumps({name: str(value) for name, value in sealed})
