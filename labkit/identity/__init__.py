"""Keycloak: the server, the realm, people's sessions."""
