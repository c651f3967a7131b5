"""Suites: read from files, the standard ones that ship, public sets in a folder, and those made of a project's rows."""
