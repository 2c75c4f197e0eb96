"""The connection to PostgreSQL; no tables."""
