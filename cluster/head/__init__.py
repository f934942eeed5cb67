"""The head of a cluster as a process of its own: job manager, control plane, membership, and the door to all of it."""
