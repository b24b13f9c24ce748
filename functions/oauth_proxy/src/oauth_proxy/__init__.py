"""Sign-in with ChatGPT (Codex) by device code: the routes and the bounded wait."""
