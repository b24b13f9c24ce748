"""The local stack: what stands in for AWS on a developer's machine. Nothing here is deployed."""
