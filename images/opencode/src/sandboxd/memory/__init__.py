"""What outlives a sandbox: its workspace and OpenCode's database, packed, kept in S3 and brought back."""
