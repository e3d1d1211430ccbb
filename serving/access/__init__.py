"""Who may call what of the predictor: keys, tokens, limits, TLS, bounds of connections, audit, logs without values."""
