"""Tests of the convert package and of what the appliance builds on it."""
