"""Brings files from a microscope's share to the data centre: scan, copy, verify, remove; I/O workers."""
