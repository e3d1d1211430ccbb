"""Decide whether ingested data may be trained on, and describe it for people and for drift checks."""
