"""Fuzz targets for long runs: programs, not tests. `python -m tests.fuzz.gguf_headers --minutes 10`."""
