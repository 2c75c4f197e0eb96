"""The contract over HTTP: each module has the routes of one thing, and the routes only translate."""
