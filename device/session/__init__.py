"""The conversation with an agent: the link and what travels on it."""
