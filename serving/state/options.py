"""Command-line options of the online state."""

import argparse
import os

from components.shared.errors import InputError
from serving.state.redis_store import RedisStore
from serving.state.store import LocalStore, StateLimits, StateStore

PASSWORD = "SHOPRANK_STATE_PASSWORD"
"""Environment variable of the password of Redis, which a command line would show to everybody."""


def add_state_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    where = f"Redis or Valkey that keeps the events of POST /v1/events, redis:// or rediss:// (password: {PASSWORD})."
    parser.add_argument("--state_url", default="", help=f"{where} Default: the memory of this process.")
    parser.add_argument("--state_prefix", default="shoprank", help="Begins every key in Redis.")
    days = "Days after a shopper's latest event in which its events are kept."
    parser.add_argument("--state_ttl_days", type=float, default=7.0, help=days)
    events = "Latest events of a shopper that are kept."
    parser.add_argument("--state_max_events", type=int, default=200, help=events)
    shoppers = "Shoppers whose events the memory of a process keeps."
    parser.add_argument("--state_max_shoppers", type=int, default=100_000, help=shoppers)
    wait = "Milliseconds that an answer waits for Redis at most."
    parser.add_argument("--state_timeout_ms", type=float, default=50.0, help=wait)


def store_of(options: argparse.Namespace) -> StateStore:
    """The store that the options ask for.

    Raises:
        InputError: an option is invalid.
    """
    for name in ("state_ttl_days", "state_max_events", "state_max_shoppers", "state_timeout_ms"):
        if not getattr(options, name) > 0:
            raise InputError(f"--{name} is {getattr(options, name)}", "give a number above 0")
    limits = StateLimits(
        ttl_s=max(1, round(options.state_ttl_days * 86_400)), max_events=options.state_max_events,
        max_shoppers=options.state_max_shoppers,
    )  # fmt: skip
    if not options.state_url:
        return LocalStore(limits)
    password = os.environ.get(PASSWORD, "")
    return RedisStore(options.state_url, options.state_prefix, limits, options.state_timeout_ms / 1_000, password)
