"""Bringing the local stack up and down, and looking at it."""
