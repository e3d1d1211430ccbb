"""`shoprank doctor`: what a run needs in a cluster, and what is missing."""
