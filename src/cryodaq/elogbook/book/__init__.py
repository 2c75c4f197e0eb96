"""The elogbook's facts: plain functions on one transaction, one module per thing of the contract."""
