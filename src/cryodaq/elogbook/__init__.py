"""The embedded elogbook: an explgbk-compatible API with its own tables, accounts and first pages.

The tree, in the order of a request: `authentication` finds out who asks, `rights` what they may do, `api`
speaks the contract, and `book` (a package of plain functions on a database connection) keeps the facts.
"""
