"""Stage: full-catalog evaluation against strong simple baselines and the champion; blesses or refuses."""
