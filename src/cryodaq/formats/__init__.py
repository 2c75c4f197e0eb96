"""Bytes to values and back: the files that microscopes and programs write."""
