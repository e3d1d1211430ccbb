"""Moves live traffic from a champion to a candidate in steps, and back at once when a guard shows harm."""
