"""STAR files, previews and notifications for people."""
