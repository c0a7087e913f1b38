"""The built-in agent: a voice server on this machine, so that a new speaker works without an account."""
