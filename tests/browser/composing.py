"""Writing to the agent, as a person does."""

from playwright.sync_api import Page, expect

START_MS = 150_000
"""The first answer of a thread, or its first sign-in, starts a sandbox, which on a busy machine takes its time."""


def send(page: Page, text: str) -> None:
    """Write a message and send it, once the page takes one: while an answer comes it keeps what is written."""
    page.get_by_label("Message", exact=True).fill(text)
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_enabled()
    page.keyboard.press("Enter")
