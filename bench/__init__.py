"""What Threadbox costs in time, calls and memory, measured against the bare OpenCode server beside it."""
