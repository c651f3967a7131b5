"""Measures the file that ships, through the engine that serves it, against the base that it came from.

`evaluate` asks every system every test row and writes results.json, report.html and golden.json; `measure_other` asks
the shipped file rows from outside the dataset.
"""

from appliance.evaluation.measuring import evaluate
from appliance.evaluation.one_file import measure_other
from appliance.evaluation.results import EvaluationResult, SystemScore

__all__ = ["EvaluationResult", "SystemScore", "evaluate", "measure_other"]
