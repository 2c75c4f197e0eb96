"""The embedded electronic logbook: explgbk's API with its tables, and its pages."""
