"""A node as a process of its own: joins a cluster, runs what its head gives it, stops when it may not go on."""
