"""How long to wait before the next try. Pure."""

FIRST_S, LONGEST_S = 0.5, 30.0
PROVEN_S = 10.0
"""A connection that lasted this long starts the count anew; one that was only accepted and dropped does not."""


def delay_s(attempt: int, jitter: float) -> float:
    """Seconds before try number `attempt` (from 0), doubling; `jitter` (0..1) spreads speakers that lost the same server."""
    return float(min(LONGEST_S, FIRST_S * 2 ** min(attempt, 10))) * (0.5 + jitter / 2)
