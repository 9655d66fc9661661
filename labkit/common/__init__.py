"""What every other package uses: errors, display, waiting, HTTP, environment variables, whose a folder is."""
