"""Bucket bounds of answer times, shared by the predictor that counts and the rollout that compares."""

LATENCY_BOUNDS = tuple(float(f"{0.001 * 1.1**step:.4g}") for step in range(97))
"""Seconds, from 1 ms to 9.4 s, each a tenth above the one before."""


def bound_above(seconds: float) -> float:
    """The smallest bound that is not below `seconds`; infinity above the last."""
    return next((bound for bound in LATENCY_BOUNDS if bound >= seconds), float("inf"))
