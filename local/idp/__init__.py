"""Stands for OpenAI's identity provider and its Codex models: what OpenCode signs in with, and what it may use then."""
