"""Actors that run flows, the jobs they belong to, and the control plane that serves models."""
