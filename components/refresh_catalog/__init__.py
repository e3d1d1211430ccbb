"""Stage: a bundle with today's catalog, without retraining: new items get vectors from what is known of them."""
