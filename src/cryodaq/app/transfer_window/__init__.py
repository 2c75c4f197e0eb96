"""The parts of one transfer window: following shares, deciding owners, judging, copying, verifying, telling.

`app.transfer_movies` runs them in turn. They share a `session.Session`; each fact is changed in the ledger first,
in a transaction under the lease, and in the session afterwards.
"""
