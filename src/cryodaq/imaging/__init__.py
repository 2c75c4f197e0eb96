"""Arrays to arrays: gain, motion, dose weighting, CTF, picking, previews."""
