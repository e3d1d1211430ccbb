"""Search spaces, trials and tuning results."""
