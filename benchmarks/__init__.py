"""Figures against peers, a file a figure: `python -m benchmarks.NAME` prints one JSON line each."""
