"""Tests of appliance/update and appliance/registry."""
