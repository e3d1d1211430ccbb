"""Stage: a bundle with today's catalogue, without retraining: new items get vectors from what is known of them."""
