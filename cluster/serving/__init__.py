"""The control plane: one queue for every generation and embedding, over many engines."""
