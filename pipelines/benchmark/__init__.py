"""The benchmark: trains on public layouts of interactions and sets the results beside published ones."""
