"""Bundles, signatures, encryption, registry, audit log, serving proof."""
