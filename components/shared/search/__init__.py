"""Search: the index of a catalog, what a query is understood as, and the order of what it finds."""
