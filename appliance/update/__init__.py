"""The stick and the device: publish, check, install, switch, roll back. Needs nothing of the workshop."""
