"""The ground: ids, errors, clock, records, messages to models, settings. Knows nothing of the layers above."""
