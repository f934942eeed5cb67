"""A flow that asks the model of the tests, in a file of its own, so that nodes find it there."""

import sage

NUM_QUESTIONS = 20
flow = sage.Flow("asking")
answers = (
    flow.from_collection([f"question {number}" for number in range(NUM_QUESTIONS)])
    .generate(model="tiny", prompt=str, max_tokens=8)
    .collect()
)
