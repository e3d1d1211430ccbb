"""HTML report pages and plots."""
