"""The client of an explgbk-compatible electronic logbook."""
