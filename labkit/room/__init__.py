"""A room: a JupyterHub whose people sign in through its own Keycloak, each with a seat of their own."""
