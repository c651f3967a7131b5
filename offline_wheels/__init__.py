"""The wheelhouse: locks with hashes, and scripts that fill it, make `.venv` and pack the bundle.

Standard library only: these run under the system's Python, before anything is installed.
"""
