"""The rows of a thread's connections."""

import pytest

from threadbox.sockets import Socket, SocketStore

pytestmark = pytest.mark.moto

SOCKET = Socket(thread_id="t", connection_id="c", user_id="u")


@pytest.mark.parametrize("change", ["create", "delete"])
def test_change_is_told_past_a_transaction(table, change):
    """A question that comes in this moment has the turn's row in hand: the socket is let in or let go all the same."""
    store = SocketStore(table=table)
    if change == "delete":
        store.create(SOCKET)
    before = version(table)
    told = {"Error": {"Code": "TransactionConflictException", "Message": "Transaction is ongoing for the item"}}
    refusals = [table.meta.client.exceptions.TransactionConflictException(told, "UpdateItem")]

    class Busy:
        def __getattr__(self, name):
            return getattr(table, name)

        def update_item(self, **arguments):
            if refusals:
                raise refusals.pop()
            return table.update_item(**arguments)

    store = SocketStore(table=Busy())
    store.create(SOCKET) if change == "create" else store.delete("t", "c")

    assert version(table) == before + 1
    assert [] == refusals
    assert len(store.list("t")) == (change == "create")


def version(table):
    return int(table.get_item(Key={"thread_id": "t", "sk": "TURN"}).get("Item", {}).get("sockets_version", 0))
