"""The engine: a process of its own that drives libllama's batch API and speaks JSON lines.

The lines are described in docs/formats/api.md. A fault inside libllama ends this process only; whoever
started it starts another.
"""
