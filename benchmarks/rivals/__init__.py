"""Other engines beside ours: each in an environment and a process of its own, over the same input."""
