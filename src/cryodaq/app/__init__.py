"""One module per verb of the workflow, in the order of the data's way."""
