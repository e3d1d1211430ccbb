"""Rules of merchandisers: what they are, which of them apply to a request, and what they do to its answer."""
