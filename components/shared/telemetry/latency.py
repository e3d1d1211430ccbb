"""Bucket bounds of latency histograms, shared by predictor and rollout."""

LATENCY_BOUNDS = tuple(float(f"{0.001 * 1.1**step:.4g}") for step in range(97))
"""Seconds, from 1 ms to 9.4 s, each 10 % above the previous one."""


def bound_above(seconds: float) -> float:
    """Return the smallest bound >= `seconds`; infinity above the last bound."""
    return next((bound for bound in LATENCY_BOUNDS if bound >= seconds), float("inf"))
