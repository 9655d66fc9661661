"""Kubernetes: how a cluster is run, what it trusts, who may do what in it."""
