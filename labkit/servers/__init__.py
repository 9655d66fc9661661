"""Servers as detached processes, and the certificates that they show."""
