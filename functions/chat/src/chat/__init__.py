"""The conversation: sockets, history and turns."""
