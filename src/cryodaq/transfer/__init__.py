"""Scan a microscope's share, copy what is complete, verify it, remove what may go."""
