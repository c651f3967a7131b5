"""Passages found by their words (SQLite FTS5, BM25), and put into a prompt with their sources; no model, no network."""

from appliance.retrieval.index import Found, Passage, PassageIndex
from appliance.retrieval.prompting import with_examples, with_passages

__all__ = ["Found", "Passage", "PassageIndex", "with_examples", "with_passages"]
