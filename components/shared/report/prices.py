"""Prices as pages and the terminal show them."""


def price_text(price: float | None) -> str:
    """A price with two decimals, below 0.01 with four; empty if there is none."""
    return "" if price is None else f"{price:.{2 if price >= 0.01 else 4}f}"
