"""Kratix: its controller, a Promise of ours, the portal's template for it, and who may ask for it."""
