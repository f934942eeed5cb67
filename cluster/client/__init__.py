"""Clusters in other processes, as their clients see them."""
