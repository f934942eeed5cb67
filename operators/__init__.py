"""How each step computes: pure, batches in, batches out. No thread, no socket, no clock."""
