"""Tests of appliance/registry: the registry that keeps releases."""
