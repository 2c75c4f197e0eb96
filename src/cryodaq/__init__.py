"""cryodaq runs a cryo-EM facility's data, from the camera to the user."""
