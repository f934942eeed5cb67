"""Ways in and out: each is a value, and its library is loaded where it is opened."""
