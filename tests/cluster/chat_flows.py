"""A flow that is asked as a model, in a file, as users submit it. Knows no cluster."""

import sage

chats = sage.Flow("chats")

chats.from_chat("shout").map(lambda turn: turn["question"].upper()).reply()

chats.from_chat("talk").generate(model="sim", prompt="{question}", max_tokens=64).reply()

chats.from_chat("long").generate(model="sim", prompt="{question}", max_tokens=5000).reply()

chats.from_chat("picky").filter(lambda turn: turn["question"] == "please").map(lambda turn: "yes").reply()

chats.from_chat("broken").map(lambda turn: 1 / 0).map(str).reply()
