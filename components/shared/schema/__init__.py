"""The data contract: tables of events, items and users, the split by time, sizes."""
