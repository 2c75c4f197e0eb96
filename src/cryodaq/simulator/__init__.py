"""A simulated microscope and the physics of its movies."""
