"""Format of prices on pages and in the terminal."""


def price_text(price: float | None) -> str:
    """Format a price with two decimals, or with four below 0.01; empty for None."""
    return "" if price is None else f"{price:.{2 if price >= 0.01 else 4}f}"
