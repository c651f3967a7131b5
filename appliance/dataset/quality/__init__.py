"""Which rows look bad, and why: cheap signals that a person can check, and a classifier's doubt about labels.

`score_rows` scores a set of rows; `write_scores` leaves quality.jsonl, the worst first.
"""

from appliance.dataset.quality.scoring import FILE_NAME, Score, score_rows, worst, write_scores

__all__ = ["FILE_NAME", "Score", "score_rows", "worst", "write_scores"]
