"""The HTTP door: OpenAI's API in front of the control plane. Loads no server until one is started."""
