"""TLS where there is none."""

import ssl


def trusting_nobody() -> ssl.SSLContext:
    """
    Return a context for clients of sandboxes, which speak plain HTTP.

    A client would make one by itself that knows all authorities, which takes tens of milliseconds.
    """
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
