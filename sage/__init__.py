"""SAGE: streams of records through operators and models, on one machine or many."""
