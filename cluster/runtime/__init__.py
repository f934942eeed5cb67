"""Actors, mailboxes, transport, tasks and nodes. Knows nothing of jobs or of models."""
