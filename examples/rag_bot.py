"""A model that answers from your notes, one a line in notes.txt, and says when it does not know.

sage-cluster start
sage-cluster submit examples/rag_bot.py
sage-gateway serve --cluster default      # any OpenAI client: model="rag-bot"
"""

import sage

NOT_KNOWN = 0.3
"""Below this likeness no note has to do with the question."""

flow, notes = sage.Flow("rag-bot"), sage.Index("notes")

lines = flow.read_text("notes.txt").filter(str.strip).map(lambda line: {"text": line})
lines.embed(model="minilm", text="text", into="vector").index_into(notes, source=None)

asked = flow.from_chat("rag-bot").embed(model="minilm", text="question", into="vector").retrieve(notes, k=3)
known = asked.filter(lambda turn: turn["passages"][0].score >= NOT_KNOWN).generate(
    model="smollm2",
    prompt=lambda turn: "\n".join(note.text for note in turn["passages"]) + f"\n\n{turn['question']}",
    max_tokens=64,
    into="answer",
)
unknown = asked.filter(lambda turn: turn["passages"][0].score < NOT_KNOWN).map(
    lambda turn: {"answer": "Nothing in the notes says so."}
)
known.union(unknown).reply("answer")

asked.map(lambda turn: f"{turn['passages'][0].score:.2f} {turn['question']}").print()
