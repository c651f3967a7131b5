"""Answering: an engine process on libllama, a client for it, and a gateway that speaks HTTP.

engine/            its own process: continuous batching over sequences
engine_client.py   starts an engine and talks to it
supervisor.py      keeps one engine alive, changes it for another without dropping requests
gateway/           OpenAI-compatible HTTP on a Unix socket, and on loopback with a key
gateway_client.py  what `anchorhold chat` and the terminal UI use
"""
