"""A cluster in Docker, made by kind."""
