"""A flow in a file of its own, so that nodes find it there: three numbers that a client collects."""

import sage

flow = sage.Flow("numbers")
numbers = flow.from_collection([1, 2, 3]).collect()
