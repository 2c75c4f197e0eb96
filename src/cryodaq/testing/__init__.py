"""Fakes and contract suites that tests and sites share."""
