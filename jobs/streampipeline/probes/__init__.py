"""What a ground looks at, one part a file."""
