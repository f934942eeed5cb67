"""How a stream ends in the world outside: in files, or a sink of the user's. Knows nothing of what comes before."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from urllib.parse import urlsplit

from sage.flow.builder import StepNumber
from sage.flow.check_numbers import whole_numbers
from sage.flow.connectors.kafka_client import Setting, Settings, settings_from
from sage.flow.ending import Ending
from sage.flow.given import checked_function, checked_mapping, checked_names, checked_path, checked_text, refuse
from sage.flow.graph import OnError
from sage.flow.handle import Handle
from sage.flow.ports import Repeats, Sink
from sage.flow.sinks import JsonLinesSink
from sage.flow.spec import MapAsync, Spec, Write
from sage.flow.where import refusal

if TYPE_CHECKING:  # an extra, which whoever writes Parquet has
    import pyarrow as pa

T_co = TypeVar("T_co", covariant=True)
Path = str | os.PathLike[str]


class Deliveries(Handle, Generic[T_co]):
    """The open end of a stream of `T_co`, as far as it leads outside."""

    __slots__ = ()

    def to(self, sink: Sink[T_co]) -> Ending:
        """End the stream in a sink of your own: a value whose `open()` gives a writer (see sage.flow.ports).

        >>> import sage
        >>> from sage.flow.sinks import PrintSink
        >>> end = sage.Flow("f").from_collection("ab").to(PrintSink())
        """
        if not callable(getattr(sink, "open", None)):
            advice = "Give a value whose open() returns a writer with write(records) and close(*, complete)."
            raise refusal(f"to takes a sink, got {sink!r:.80}", advice, param="sink")
        return self._end(Write(sink), "to")

    def write_jsonl(self, path: Path) -> Ending:
        """End the stream in a file of one JSON value a line, which appears, whole, when the job ends well.

        Records may be what JSON knows, dataclasses, Structs, dates, NumPy numbers and arrays. With the extra `fsspec`
        the path may be a URL, as it may of all files. `{instance}` in it is the number of the instance that writes.

        >>> import sage
        >>> end = sage.Flow("f").from_collection([{"id": 1}]).write_jsonl("out.jsonl")
        """
        return self._end(Write(JsonLinesSink(checked_path(path))), "write_jsonl")

    def write_text(self, path: Path) -> Ending:
        """End the stream of texts in a UTF-8 file of one a line, which appears, whole, when the job ends well.

        >>> import sage
        >>> end = sage.Flow("f").from_collection(["to be", "or not"]).write_text("out.txt.gz")
        """
        from sage.flow.connectors.text_sinks import TextSink

        return self._end(Write(TextSink(checked_path(path))), "write_text")

    def write_csv(self, path: Path, *, columns: Iterable[str] | None = None, delimiter: str = ",") -> Ending:
        """End the stream in a CSV file, a row a record, which appears, whole, when the job ends well.

        Records are dicts, dataclasses or Structs. `columns` are those of the file, in order; without it they are the
        fields of the first record. A field that a record lacks is left empty; one that has no column is an error.

        >>> import sage
        >>> end = sage.Flow("f").from_collection([{"id": 1, "name": "Ada"}]).write_csv("people.csv")
        """
        from sage.flow.connectors.text_sinks import CsvSink

        chosen = checked_columns(columns)
        return self._end(Write(CsvSink(checked_path(path), chosen, checked_delimiter(delimiter))), "write_csv")

    def write_parquet(self, path: Path, *, schema: "pa.Schema | None" = None) -> Ending:
        """End the stream in a Parquet file, a row a record, which appears, whole, when the job ends well.

        Records are dicts, dataclasses or Structs. `schema` is a pyarrow Schema, which each record has to fit; a type
        that Parquet has no form for, a dictionary too, is refused. Without it the first records say what it is. Until
        the end, rows lie beside the file in Arrow's format. Needs the extra `arrow`.

        >>> import sage
        >>> end = sage.Flow("f").from_collection([{"id": 1, "name": "Ada"}]).write_parquet("people.parquet")
        """
        from sage.flow.connectors.parquet_schema import fault_of_schema
        from sage.flow.connectors.parquet_sink import ParquetSink
        from sage.flow.packing import is_packed

        if is_packed(checked_path(path)):
            raise refusal(f"Parquet is packed by itself, and {path} is to be packed once more", "Name it .parquet.")
        if schema is not None and (fault := fault_of_schema(schema)) is not None:
            raise refusal(fault.what, fault.do, param=fault.param)
        return self._end(Write(ParquetSink(checked_path(path), schema)), "write_parquet")

    def to_sql(self, url: str, table: str, *, key: str | Iterable[str]) -> Ending:
        """End the stream in a table of the database at an SQLAlchemy URL: rows are put in, or over those of their key.

        Records are dicts, dataclasses or Structs; their fields are columns. The table has a unique index over `key`,
        one column or several. A column that a record lacks stays as it is, or gets its default. Each batch is one
        transaction. Writing a record again changes nothing. For SQLite, PostgreSQL, MySQL and MariaDB; needs the extra
        `sql` and the database's driver.

        >>> import sage
        >>> people = sage.Flow("f").from_collection([{"id": 1, "name": "Ada"}])
        >>> end = people.to_sql("sqlite:///people.db", "people", key="id")
        """
        from sage.flow.connectors.sql_sink import SqlSink

        checked_text(url, "url", 'For example "sqlite:///people.db".')
        checked_text(table, "table", 'Name the table: to_sql(url, "people", key="id").')
        return self._end(Write(SqlSink(url, table, checked_names(key, "key", 'Write key="id".'))), "to_sql")

    def to_kafka(
        self,
        servers: str,
        topic: str,
        *,
        value: Callable[[T_co], Any] | None = None,
        key: Callable[[T_co], str | bytes | None] | None = None,
        headers: Callable[[T_co], Mapping[str, str | bytes | None]] | None = None,
        timestamp: Callable[[T_co], float] | None = None,
        config: Mapping[str, Setting] | None = None,
    ) -> Ending:
        """End the stream in a topic of Kafka: a message a record, each batch acknowledged before the next is taken.

        Functions of the record give a message's value, key, headers and timestamp (seconds since the epoch). Texts and
        bytes are values as they are, anything else becomes JSON; without `value` the record is the value. `config` are
        settings of librdkafka. Where a run goes on from a checkpoint, messages come again. Needs the extra `kafka`.

        >>> import sage
        >>> counts = sage.Flow("f").from_collection(["a", "b"]).key_by(str).count()
        >>> end = counts.to_kafka("broker:9092", "counts", key=lambda pair: pair[0], value=lambda pair: pair[1])
        """
        from sage.flow.connectors.kafka_sink import KafkaSink

        checked_text(topic, "topic", 'Write to_kafka("broker:9092", "counts").')
        for param, fn in {"value": value, "key": key, "headers": headers, "timestamp": timestamp}.items():
            checked_function(fn, param)
        chosen = checked_servers(servers)
        sink = KafkaSink(chosen, topic, value, key, headers, timestamp, checked_settings(config))
        return self._end(Write(sink), "to_kafka")

    def to_http(
        self,
        url: str,
        *,
        key: Callable[[T_co], str] | None = None,
        body: Callable[[T_co], Any] | None = None,
        headers: Mapping[str, str] | None = None,
        method: Literal["POST", "PUT", "PATCH"] = "POST",
        max_in_flight: int = 8,
        timeout_s: float = 30.0,
        retries: int = 8,
        backoff_s: float = 0.5,
    ) -> Ending:
        """End the stream in a web hook: a request a record, `max_in_flight` of them at a time, in no order if above 1.

        `body`, a function of the record, gives text, bytes or what becomes JSON; without it the record is the body.
        `key` gives the header Idempotency-Key, the same whenever the record is sent again. What is not answered within
        `timeout_s`, or by 408, 425, 429 or 5xx, is sent `retries` times more, after `backoff_s`, twice as long each
        time, or when Retry-After says. Then, and at once for any other status but 2xx, the record fails, as `on_error`
        says. For batches, write `map_batches(list, max_records=...)` before it. Needs the extra `http`.

        >>> import sage
        >>> orders = sage.Flow("f").from_collection([{"id": 1, "total": 2.5}])
        >>> end = orders.to_http("https://hooks.example.com/orders", key=lambda order: f"order-{order['id']}")
        """
        from sage.flow.connectors.http_sink import Delivered, Hook

        sent = tuple(checked_mapping(headers, "headers").items())
        hook = Hook(
            checked_hook(url, method), method, sent, checked_function(body, "body"), checked_function(key, "key")
        )
        number = self._then(MapAsync(hook, max_in_flight, timeout_s, ordered=False, backoff_s=backoff_s), "to_http")
        refuse(whole_numbers(retries=retries))
        if retries:
            self._builder.change(number, on_error=OnError.RETRY, retries=retries)
        self._builder.add(Write(Delivered(Repeats.SHOWN if key is None else Repeats.BY_KEY)), number, kind="delivered")
        return Ending(self._builder, number)

    def _then(self, spec: Spec, kind: str | None = None) -> StepNumber:
        return self._builder.add(spec, self._number, kind=kind)

    def _end(self, spec: Spec, kind: str | None = None) -> Ending:
        return Ending(self._builder, self._then(spec, kind))


def checked_hook(url: str, method: str) -> str:
    """Return where requests go; raises FlowInvalid."""
    parts = urlsplit(checked_text(url, "url", 'Write "https://hooks.example.com/orders".'))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refusal("to_http takes a URL of http or https", 'Write "https://hooks.example.com/orders".', param="url")
    if method not in ("POST", "PUT", "PATCH"):
        raise refusal(f"method={method!r:.80} sends no record", 'Known are "POST", "PUT", "PATCH".', param="method")
    return url


def checked_columns(columns: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return names of columns as a tuple; raises FlowInvalid."""
    if columns is None:
        return None
    return checked_names(() if isinstance(columns, str) else columns, "columns", 'Write columns=["id", "name"].')


def checked_delimiter(delimiter: str) -> str:
    """Return what stands between fields; raises FlowInvalid."""
    given: object = delimiter
    if not isinstance(given, str) or len(given) != 1 or given in '"\r\n':
        raise refusal(f"a delimiter is one character, got {delimiter!r:.80}", 'Write delimiter=";".', param="delimiter")
    return delimiter


def checked_servers(servers: str) -> str:
    """Return brokers of Kafka; raises FlowInvalid."""
    return checked_text(servers, "servers", 'For example "broker:9092".')


def checked_settings(config: Mapping[str, Setting] | None) -> Settings:
    """Return settings of Kafka's client as a value; raises FlowInvalid for those that are not the user's to make."""
    try:
        return settings_from(checked_mapping(config, "config"))
    except ValueError as error:
        raise refusal(f"what is promised rests on {error}", "Leave it out of config.", param="config") from error
