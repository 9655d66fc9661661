"""Settings of a state folder: its paths, its ports, and a Keycloak that one already has."""
