"""Engines behind one port, each in a host process of its own."""
