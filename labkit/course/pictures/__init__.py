"""Pictures of a lab as it is at the moment, each with a text that says the same."""
