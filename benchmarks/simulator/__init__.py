"""A simulator of many engines behind the real control plane, in virtual time. Everything it prints is simulated."""
