"""The language: streams, graph and plan as passive values. Runs nothing."""
