"""Stage: update the catalog of a bundle without retraining; new items get vectors from their attributes."""
