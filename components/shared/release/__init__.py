"""The bundle and what a version carries: signature, registry, audit trail, serving proof."""
