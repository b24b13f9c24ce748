"""sandboxd: the main process of a Threadbox sandbox container, in front of one OpenCode server."""
