"""Flows in a file, as nodes load them. Knows no cluster."""

import sys
import threading

import sage

TEXTS = ["to be or not to be", "that is the question", "be"]
NUM_SLOW = 400
NUM_LONG = 1_000_000

_PAUSE = threading.Event()
_LOCK = threading.Lock()  # cannot travel: a flow whose lambda holds it goes by this file


def slowly(number: int) -> int:
    """Take 5 ms, so that a node can be lost while it works."""
    _PAUSE.wait(0.005)
    return number


def last_digit(number: int) -> int:
    return number % 10


def invert(number: int) -> float:
    return 1 / (number - 7)


def shout(text: str) -> str:
    return text.upper()


words = sage.Flow("words")
word_counts = (
    words.from_collection(TEXTS * 500).flat_map(str.split).key_by(str).count(final=True).with_parallelism(2).collect()
)

slow = sage.Flow("slow")
slow_sums = (
    slow.from_collection(range(NUM_SLOW)).map(slowly).key_by(last_digit).sum(final=True).with_parallelism(2).collect()
)

long = sage.Flow("long")
long.from_collection(range(NUM_LONG)).map(slowly).with_parallelism(2).for_each(abs)

broken = sage.Flow("broken")
broken.from_collection(range(10)).map(invert).collect()

asking = sage.Flow("asking")
answers = asking.from_collection(TEXTS).generate(model="sim", prompt="{}", max_tokens=4).with_parallelism(1).collect()

printing = sage.Flow("printing")
printing.from_collection(TEXTS).map(shout).print()

many = sage.Flow("many")
many_items = many.from_collection(range(200_000)).map(str).with_parallelism(2).collect()

fickle = sage.Flow("fickle")
fickle.from_collection(TEXTS).map(lambda text: (_LOCK.locked(), text)).with_parallelism(
    2 if "pytest" in sys.modules else 1
).collect()
