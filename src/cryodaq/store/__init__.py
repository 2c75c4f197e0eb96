"""Folders, links and access rights on the large file system."""
