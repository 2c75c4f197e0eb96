"""Ways by which messages reach people outside: e-mail and webhooks."""
