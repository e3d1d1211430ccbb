"""Stage: full-catalog evaluation against strong simple baselines and the champion; applies the release gates."""
