"""Tests of appliance/trust."""
