"""The dead-letter topic for its users: what is there, and sending letters back to the source topic."""
