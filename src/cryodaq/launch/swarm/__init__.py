"""The docker swarm stack of a facility: rendered from the facility file, checked, and prepared when it starts."""
