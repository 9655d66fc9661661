"""The workshop's files in the tools' own formats: found, checked, filled in."""
