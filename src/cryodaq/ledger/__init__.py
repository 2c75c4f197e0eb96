"""The tables and queries of the facts that the pipeline observes, decides and produces."""
