"""The OpenAI-compatible door to the control plane."""
