"""Programs that process a movie: our own imaging and external ones."""
