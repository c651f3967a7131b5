"""The workshop's view of its devices."""
