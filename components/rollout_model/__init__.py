"""Stage: move live traffic from champion to candidate in steps; roll back at once if a guard detects harm."""
