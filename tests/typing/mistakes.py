"""Mistakes that type checkers must find: a line that stops being one is reported as an unused `type: ignore`."""

import sage


def mistakes(flow: sage.Flow, lines: sage.Stream[str], keyed: sage.KeyedStream[str, int]) -> None:
    lines.map(abs)  # type: ignore[arg-type]  # abs takes no str
    lines.flat_map(len)  # type: ignore[arg-type]  # an int has no items
    lines.count()  # type: ignore[attr-defined]  # needs a key
    lines.map_async(str.upper)  # type: ignore[arg-type]  # no coroutine function
    lines.on_error("ignore")  # type: ignore[arg-type]  # no such policy
    lines.generate(model="m", prompt="{}", top_k=1)  # type: ignore[call-overload]  # no such option
    lines.embed(model="m", into=len)  # type: ignore[arg-type]  # into takes the record and the vector
    lines.retrieve("docs")  # type: ignore[call-overload]  # a name is no index
    keyed.reduce(lambda a, b: f"{a}{b}")  # type: ignore[arg-type, return-value]  # gives no int
    lines.print().map(len)  # type: ignore[attr-defined]  # nothing comes after a sink
    flow.from_source([1])  # type: ignore[arg-type]  # a list is no source
    flow.from_collection([1], timestamp=str)  # type: ignore[arg-type]  # a text is no time
    keyed.window(10)  # type: ignore[arg-type]  # a number is no shape
    keyed.window(sage.Tumbling(10)).map(len)  # type: ignore[attr-defined]  # says not what to compute
