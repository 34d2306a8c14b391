"""What keeps copies in this process true to a store that others write to."""
