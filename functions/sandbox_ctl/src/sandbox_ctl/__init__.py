"""A sandbox's life: the only function that starts, claims and stops sandboxes and signs calls to them."""
