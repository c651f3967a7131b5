"""The workshop's view of its devices: receipts judged and kept in the registry, and what is acknowledged of them."""
