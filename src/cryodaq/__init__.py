"""cryodaq runs a cryo-EM facility's data, from the camera to the user."""

__version__ = "0.1.0"
