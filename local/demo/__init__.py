"""What the demo model understands and says; ``local.model`` is the server around it."""
