"""Search spaces, trials and what a study found."""
