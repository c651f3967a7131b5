"""Whom a device believes: keys, the pinned root, verification, the ledger of floors, the clock."""
