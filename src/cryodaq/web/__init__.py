"""Pages about microscopes, movies, transfer and alarms."""
