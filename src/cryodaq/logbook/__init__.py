"""The client of an explgbk-compatible elogbook: ours, or a real explgbk, by two sets of quirks."""
