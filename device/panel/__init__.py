"""Lights and button."""
