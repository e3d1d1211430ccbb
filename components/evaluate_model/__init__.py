"""Stage: full-catalogue evaluation against strong simple baselines and the champion; blesses or refuses."""
