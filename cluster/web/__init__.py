"""HTTP as servers of the house need it: bounds on what strangers send, and the requests that flows read."""
