"""Redaction: what is found, what must not be, and what stands in its place."""
