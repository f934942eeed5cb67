"""What type checkers must infer of the language. Nothing here runs: mypy and basedpyright read it."""

from typing import Any, assert_type

import msgspec
import numpy as np
from numpy.typing import NDArray

import sage
from sage.base.answers import Completion
from sage.flow.connectors.kafka_source import KafkaRecord
from sage.flow.ending import Ending
from sage.flow.ends import Collected
from sage.flow.models import AsyncTokenStream, TokenStream
from sage.flow.ports import Source
from sage.flow.stream import SidedStream


class Question(msgspec.Struct):
    text: str
    answer: str = ""


async def fetch(url: str) -> bytes:
    return url.encode()


def no_words() -> list[str]:
    return []


def with_word(words: list[str], word: str) -> list[str]:
    return [*words, word]


def sources(flow: sage.Flow, source: Source[Question]) -> None:
    assert_type(flow.read_text("a.txt"), sage.Stream[str])
    assert_type(flow.from_collection([1, 2]), sage.Stream[int])
    assert_type(flow.from_collection(range(3)), sage.Stream[int])
    assert_type(flow.from_source(source), sage.Stream[Question])
    assert_type(flow.read_jsonl("a.jsonl"), sage.Stream[Any])
    assert_type(flow.read_jsonl("a.jsonl", as_type=Question), sage.Stream[Question])
    assert_type(flow.from_http("a"), sage.Stream[Any])
    assert_type(flow.from_http("a", as_type=Question, port=8080), sage.Stream[Question])
    assert_type(flow.from_http("a", records="text", key_env="KEY", host="::"), sage.Stream[str])
    assert_type(flow.from_http("a", records="requests", due_in_s=1.0), sage.Stream[sage.HttpRequest])


def steps(lines: sage.Stream[str], numbers: sage.Stream[int]) -> None:
    assert_type(lines.flat_map(str.split), sage.Stream[str])
    assert_type(lines.map(len), sage.Stream[int])
    assert_type(lines.filter(str.isupper), sage.Stream[str])
    assert_type(lines.map_batches(lambda texts: [len(text) for text in texts]), sage.Stream[int])
    assert_type(lines.map_async(fetch, max_in_flight=2), sage.Stream[bytes])
    assert_type(lines.map_async(fetch, ordered=False, retries=2, backoff_s=1, dedup=str.lower), sage.Stream[bytes])
    assert_type(lines.union(lines.map(str.upper)), sage.Stream[str])
    again = lines.iterate(lambda each: each.map(str.strip), until=str.islower, max_rounds=3, unfinished_to="rest")
    assert_type(again, SidedStream[str, str])
    assert_type(again.side("rest"), sage.Stream[str])
    assert_type(lines.union(numbers), sage.Stream[str | int])
    assert_type(lines.named("x").with_parallelism(2).with_resources(cpus=1).on_error("retry"), sage.Stream[str])
    assert_type(lines.with_resources(gpus=0.5, gpu_memory_bytes=1 << 30, labels={"zone": "a"}), sage.Stream[str])


def aggregates(words: sage.KeyedStream[str, str], numbers: sage.KeyedStream[bool, int]) -> None:
    assert_type(words.count(), sage.Stream[tuple[str, int]])
    assert_type(words.count(final=True).collect(), Collected[tuple[str, int]])
    assert_type(numbers.sum(), sage.Stream[tuple[bool, int]])
    assert_type(words.sum(len), sage.Stream[tuple[str, int]])
    assert_type(numbers.min(), sage.Stream[tuple[bool, int]])
    assert_type(words.max(len, final=True), sage.Stream[tuple[str, int]])
    assert_type(words.reduce(lambda a, b: a + b), sage.Stream[tuple[str, str]])
    assert_type(words.fold(0, lambda total, word: total + len(word)), sage.Stream[tuple[str, int]])
    assert_type(words.fold(no_words, with_word), sage.Stream[tuple[str, list[str]]])
    assert_type(words.named("keyed"), sage.KeyedStream[str, str])
    assert_type(words.map(len), sage.Stream[int])


def as_float(question: Question) -> float:
    return float(question.text)


def event_time(flow: sage.Flow, lines: sage.Stream[str]) -> None:
    assert_type(flow.from_collection(["1"], timestamp=float, max_out_of_order_s=2), sage.Stream[str])
    assert_type(flow.read_text("a.txt", timestamp=float), sage.Stream[str])
    assert_type(flow.read_jsonl("a.jsonl", as_type=Question, timestamp=as_float), sage.Stream[Question])
    assert_type(lines.assign_timestamps(float), sage.Stream[str])


class Lengths(sage.KeyedProcess[int, str, float]):
    num = sage.ValueState(0)
    last = sage.ValueState[str | None](None)
    words = sage.ListState[str](ttl_s=10)
    seen = sage.MapState[str, int]()

    def on_record(self, record: str, context: sage.ProcessContext[int]) -> list[float]:
        assert_type(self.num, int)
        assert_type(self.last, str | None)
        assert_type(self.words, list[str])
        assert_type(self.seen, dict[str, int])
        assert_type(context.key, int)
        return [1.0]


def processes(words: sage.KeyedStream[int, str]) -> None:
    assert_type(words.process(Lengths).map(lambda length: length), sage.Stream[float])
    assert_type(words.process(Lengths()), SidedStream[float, Any])


class Both(sage.CoProcess[int, str, float, bytes]):
    def on_first(self, record: str, context: sage.ProcessContext[int]) -> list[bytes]:
        return [record.encode()]

    def on_second(self, record: float, context: sage.ProcessContext[int]) -> None:
        assert_type(record, float)


def joins(words: sage.KeyedStream[int, str], sizes: sage.KeyedStream[int, float]) -> None:
    assert_type(words.join(sizes).within(1, 2), sage.Stream[tuple[str, float]])
    assert_type(words.join(sizes).as_of(), sage.Stream[tuple[str, float]])
    assert_type(words.join(sizes).as_of(outer=True), sage.Stream[tuple[str, float | None]])
    windowed = words.join(sizes).window(sage.Tumbling(10))
    assert_type(windowed, sage.Stream[sage.WindowResult[int, tuple[str, float]]])
    assert_type(words.connect(sizes).process(Both), SidedStream[bytes, Any])


def windows(words: sage.KeyedStream[int, str]) -> None:
    windowed = words.window(sage.Tumbling(10)).allow_late(5)
    assert_type(windowed, sage.WindowedStream[int, str])
    assert_type(windowed.count(), SidedStream[sage.WindowResult[int, int], str])
    assert_type(windowed.max(), SidedStream[sage.WindowResult[int, str], str])
    assert_type(words.window(sage.Session(1)).sum(len), SidedStream[sage.WindowResult[int, int], str])
    assert_type(windowed.reduce(lambda a, b: a + b), SidedStream[sage.WindowResult[int, str], str])
    assert_type(windowed.fold(0, lambda total, word: total + len(word)), SidedStream[sage.WindowResult[int, int], str])
    assert_type(windowed.fold(no_words, with_word), SidedStream[sage.WindowResult[int, list[str]], str])
    assert_type(windowed.aggregate(no_words, with_word), SidedStream[sage.WindowResult[int, list[str]], str])
    assert_type(windowed.aggregate(no_words, with_word, result=len), SidedStream[sage.WindowResult[int, int], str])
    assert_type(words.window(sage.Sliding(10, 5)).collect(), SidedStream[sage.WindowResult[int, list[str]], str])
    assert_type(windowed.late_to("late").count().side("late"), sage.Stream[str])
    assert_type(words.split({"long": len}).side("long"), sage.Stream[str])
    [result] = windowed.count().collect().items
    assert_type((result.key, result.value), tuple[int, int])


def the_word_count(flow: sage.Flow) -> None:
    words = flow.read_text("corpus.txt").flat_map(str.split)
    assert_type(words, sage.Stream[str])
    assert_type(words.key_by(lambda word: word), sage.KeyedStream[str, str])
    counts = words.key_by(lambda word: word).count(final=True).collect()
    assert_type(counts.items, list[tuple[str, int]])


def models(questions: sage.Stream[Question], docs: sage.Index) -> None:
    assert_type(questions.generate(model="m", prompt="{text}"), sage.Stream[str])
    assert_type(questions.generate(model="m", prompt="{text}", into="answer", max_tokens=3), sage.Stream[Question])
    assert_type(
        questions.generate(model="m", prompt=lambda q: q.text, into=lambda q, answer: (q.text, answer)),
        sage.Stream[tuple[str, str]],
    )
    assert_type(questions.embed(model="m", text="text"), sage.Stream[NDArray[np.float32]])
    assert_type(questions.embed(model="m", text="text", into="vector"), sage.Stream[Question])
    assert_type(
        questions.embed(model="m", text="text", into=lambda q, vector: (q, vector)),
        sage.Stream[tuple[Question, NDArray[np.float32]]],
    )
    assert_type(questions.retrieve(docs), sage.Stream[Question])
    assert_type(questions.retrieve(docs, into=None), sage.Stream[list[sage.Passage]])
    assert_type(questions.retrieve(docs, k=2, into=lambda q, found: found[0].text), sage.Stream[str])


def ends(lines: sage.Stream[str], docs: sage.Index) -> None:
    assert_type(lines.collect(), Collected[str])
    assert_type(lines.print(), Ending)
    assert_type(lines.for_each(len), Ending)
    assert_type(lines.write_jsonl("a.jsonl").named("out"), Ending)
    assert_type(lines.index_into(docs, text=str, vector=lambda text: [0.0], source=None), Ending)


def runs(flow: sage.Flow) -> None:
    assert_type(flow.run(timeout_s=1.0), sage.JobResult)
    with sage.connect("local") as cluster:
        assert_type(cluster, sage.Cluster)
        assert_type(cluster.submit(flow), sage.Job)


async def calls(cluster: sage.Cluster) -> None:
    assert_type(cluster.chat("Why?", model="m"), Completion)
    assert_type(cluster.chat("Why?", model="m", stream=True), TokenStream)
    assert_type(cluster.generate("Why?", model="m", raw=True).usage.prompt_tokens, int)
    assert_type(cluster.embed("Why?", model="m").vectors, NDArray[np.float32])
    assert_type(await cluster.aio.chat("Why?", model="m", max_tokens=1), Completion)
    assert_type(cluster.aio.generate("Why?", model="m", stream=True), AsyncTokenStream)
    assert_type(await cluster.aio.submit(sage.Flow("f")), sage.Job)
    assert_type(await cluster.aio.jobs(), list[sage.Job])
    assert_type((await cluster.aio.nodes())[0].num_tasks, int)


class Row(msgspec.Struct):
    n: int


def tables_have_rows_of_texts_or_of_a_type(flow: sage.Flow) -> None:
    assert_type(flow.read_csv("a.csv"), sage.Stream[dict[str, str]])
    assert_type(flow.read_csv("a.csv", as_type=Row), sage.Stream[Row])
    assert_type(flow.read_parquet("a.parquet"), sage.Stream[dict[str, Any]])
    assert_type(flow.read_parquet("a.parquet", as_type=Row), sage.Stream[Row])
    assert_type(flow.from_sql("sqlite://", table="t", order_by="n"), sage.Stream[dict[str, Any]])
    assert_type(flow.from_sql("sqlite://", table="t", order_by="n", as_type=Row), sage.Stream[Row])
    assert_type(flow.from_kafka("broker", "topic"), sage.Stream[KafkaRecord])
    assert_type(flow.ticks(1.0), sage.Stream[float])
    assert_type(flow.ticks(1.0).map_batches(lambda array: 2 * array, format="numpy"), sage.Stream[Any])
