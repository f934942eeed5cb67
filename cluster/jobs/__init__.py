"""Jobs: what runs where, and what happens when a part fails."""
