"""The wheelhouse: locks with hashes, and the scripts that fill it, prepare `.venv` from it and pack the bundle.

Standard library only: these run under the system's Python, before anything is installed.
"""
