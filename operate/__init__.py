"""Commands for operators of a deployed stack; each calls what is deployed and keeps nothing of its own."""
