"""Kratix as it is released: its manifests and images, in a cluster that runs containers."""
