"""The offline bundle: its installer, and the whole road where there is no network."""
