"""What of a sample goes to RELION, cryoSPARC and people's own programs."""
