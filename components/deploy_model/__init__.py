"""Stage: release a version that passed the release gates and the serving proof."""
