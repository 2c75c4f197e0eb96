"""The words of the field and the decisions made with them; pure."""
