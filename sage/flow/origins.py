"""Where streams begin in the world outside: in files. Knows nothing of what comes after."""

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Unpack, overload

from sage.flow.builder import Builder
from sage.flow.check_numbers import texts
from sage.flow.connectors.follow import FollowSource
from sage.flow.connectors.http_source import HttpRequest, RecordsAs
from sage.flow.connectors.kafka_client import Setting
from sage.flow.connectors.kafka_source import KafkaRecord
from sage.flow.deliveries import checked_columns, checked_delimiter, checked_servers, checked_settings
from sage.flow.files import is_url
from sage.flow.given import checked_flag, checked_names, checked_path, checked_text, refuse
from sage.flow.packing import is_packed
from sage.flow.ports import PartitionedSource, Source
from sage.flow.posts import PostOptions, source_with, time_of
from sage.flow.sources import JsonLinesSource, TextSource
from sage.flow.spec import Read
from sage.flow.stream import Stream
from sage.flow.time_options import TimeOptions, read_with
from sage.flow.where import refusal

T = TypeVar("T")
Path = str | os.PathLike[str]


class Origins:
    """What of a flow leads in from outside."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def read_text(self, path: Path, *, follow: bool = False, **time: Unpack[TimeOptions[str]]) -> Stream[str]:
        """Begin a stream with the lines, without their ends, of a UTF-8 file or of all files that match a glob.

        Files packed by gzip or bzip2 are known by their names' endings. With the extra `fsspec` the path may be a URL.
        `follow=True` reads one file and goes on as it grows, for as long as the job runs, also where it is renamed and
        begun anew (app.log.1) or cut off.

        >>> import sage
        >>> lines = sage.Flow("f").read_text("books/**/*.txt")
        """
        read = followed if checked_flag(follow, "follow") else TextSource
        return self._begin(read(checked_path(path)), "read_text", time)

    @overload
    def read_jsonl(self, path: Path, **time: Unpack[TimeOptions[Any]]) -> Stream[Any]: ...
    @overload
    def read_jsonl(self, path: Path, *, as_type: type[T], **time: Unpack[TimeOptions[T]]) -> Stream[T]: ...
    def read_jsonl(self, path: Path, *, as_type: Any = Any, **time: Unpack[TimeOptions[Any]]) -> Stream[Any]:
        """Begin a stream with the JSON values, one a line, of a file or of all files that match a glob.

        `as_type`, a dataclass, Struct or TypedDict, is what each line must hold; without it objects become dicts.

        >>> import sage
        >>> totals = sage.Flow("f").read_jsonl("orders.jsonl").map(lambda order: order["total"])
        """
        return self._begin(JsonLinesSource(checked_path(path), as_type), "read_jsonl", time)

    @overload
    def read_csv(
        self, path: Path, *, delimiter: str = ",", **time: Unpack[TimeOptions[dict[str, str]]]
    ) -> Stream[dict[str, str]]: ...
    @overload
    def read_csv(
        self, path: Path, *, as_type: type[T], delimiter: str = ",", **time: Unpack[TimeOptions[T]]
    ) -> Stream[T]: ...
    def read_csv(
        self, path: Path, *, as_type: Any = None, delimiter: str = ",", **time: Unpack[TimeOptions[Any]]
    ) -> Stream[Any]:
        """Begin a stream with the rows of a CSV file, or of all files that match a glob; the first row names columns.

        Without `as_type` a row is a dict of texts. With a dataclass, Struct or TypedDict its texts become numbers,
        booleans, dates, ... as the fields say; an empty text is None or the default where the field is no text.

        >>> import sage
        >>> paid = sage.Flow("f").read_csv("orders/*.csv.gz").filter(lambda order: order["state"] == "paid")
        """
        from sage.flow.connectors.csv_source import CsvSource

        return self._begin(CsvSource(checked_path(path), as_type, checked_delimiter(delimiter)), "read_csv", time)

    @overload
    def read_parquet(
        self, path: Path, *, columns: Iterable[str] | None = None, **time: Unpack[TimeOptions[dict[str, Any]]]
    ) -> Stream[dict[str, Any]]: ...
    @overload
    def read_parquet(
        self, path: Path, *, as_type: type[T], columns: Iterable[str] | None = None, **time: Unpack[TimeOptions[T]]
    ) -> Stream[T]: ...
    def read_parquet(
        self,
        path: Path,
        *,
        as_type: Any = None,
        columns: Iterable[str] | None = None,
        **time: Unpack[TimeOptions[Any]],
    ) -> Stream[Any]:
        """Begin a stream with the rows of a Parquet file, or of all files that match a glob, as dicts or `as_type`.

        `columns`: only these are read. Needs the extra `arrow`.

        >>> import sage
        >>> totals = sage.Flow("f").read_parquet("orders.parquet", columns=["total"]).map(lambda row: row["total"])
        """
        from sage.flow.connectors.parquet_source import ParquetSource

        source: Any = ParquetSource(checked_path(path), as_type, checked_columns(columns))
        return self._begin(source, "read_parquet", time)

    @overload
    def from_sql(
        self,
        url: str,
        *,
        order_by: str,
        table: str | None = None,
        query: str | None = None,
        after: Any = None,
        follow_every_s: float | None = None,
        **time: Unpack[TimeOptions[dict[str, Any]]],
    ) -> Stream[dict[str, Any]]: ...
    @overload
    def from_sql(
        self,
        url: str,
        *,
        order_by: str,
        as_type: type[T],
        table: str | None = None,
        query: str | None = None,
        after: Any = None,
        follow_every_s: float | None = None,
        **time: Unpack[TimeOptions[T]],
    ) -> Stream[T]: ...
    def from_sql(
        self,
        url: str,
        *,
        order_by: str,
        table: str | None = None,
        query: str | None = None,
        as_type: Any = None,
        after: Any = None,
        follow_every_s: float | None = None,
        **time: Unpack[TimeOptions[Any]],
    ) -> Stream[Any]:
        """Begin a stream with the rows of a table, or of a query, of the database at an SQLAlchemy URL.

        Rows come in the order of the column `order_by`, whose values differ and are never NULL, a page at a time, until
        there is none after the last; `after`: only those beyond this value. With `follow_every_s` it is looked for more
        at the end, so often, for as long as the job runs. Rows are dicts or `as_type`. A row that is
        committed while the flow runs is read if its place is after the last one read. Needs the extra `sql` and the
        database's driver.

        >>> import sage
        >>> orders = sage.Flow("f").from_sql("sqlite:///shop.db", table="orders", order_by="id", after=1000)
        """
        from sage.flow.connectors.sql_source import SqlSource

        if (table is None) == (query is None):
            raise refusal("from_sql reads a table or a query", 'Write table="orders", or query="SELECT ...".')
        refuse(texts("", table=table, query=query))
        checked_text(url, "url", 'For example "sqlite:///shop.db".')
        checked_text(order_by, "order_by", 'Name a column: order_by="id".')
        source: Any = SqlSource(url, table, query, order_by, as_type, after, checked_period(follow_every_s))
        return self._begin(source, "from_sql", time)

    def ticks(self, period_s: float, **time: Unpack[TimeOptions[float]]) -> Stream[float]:
        """Begin a stream with the time, in seconds since the epoch, at every whole multiple of `period_s`.

        What was due while the job was down comes at once where it goes on from a checkpoint.

        >>> import sage
        >>> minutes = sage.Flow("f").ticks(60.0)
        """
        from sage.flow.connectors.ticks import TickSource

        return self._begin(TickSource(checked_period(period_s) or 0.0), "ticks", time)

    def from_kafka(
        self,
        servers: str,
        topics: str | Iterable[str],
        *,
        start: Literal["earliest", "latest"] = "earliest",
        until_end: bool = False,
        config: Mapping[str, Setting] | None = None,
        **time: Unpack[TimeOptions[KafkaRecord]],
    ) -> Stream[KafkaRecord]:
        """Begin a stream with the messages of topics of Kafka, all partitions, for as long as the job runs.

        A record is a dict: "topic", "partition", "offset", "key" and "value" (bytes or None), "timestamp_s", "headers".
        Order is kept within a partition. `start` holds where no checkpoint says where to go on; with `until_end` the
        stream ends with the messages that are there when it begins. `config` are settings of librdkafka, such as
        "security.protocol". With `timestamp=`, event time advances with the slowest partition that has given a message;
        `idle_after_s=` lets it go on without one that gives no more. Needs the extra `kafka`.

        >>> import sage
        >>> clicks = sage.Flow("f").from_kafka("broker:9092", "clicks", timestamp=lambda click: click["timestamp_s"])
        """
        from sage.flow.connectors.kafka_source import KafkaSource

        chosen = checked_names(topics, "topics", 'Write from_kafka("broker:9092", "clicks").')
        if start not in ("earliest", "latest"):
            raise refusal(f"start={start!r:.80} is unknown", 'Known are "earliest", "latest".', param="start")
        if time.get("timestamp") is not None:
            time.setdefault("partition", KafkaSource.place_of)
        ends = checked_flag(until_end, "until_end")
        source = KafkaSource(checked_servers(servers), chosen, start, ends, checked_settings(config))
        return self._begin(source, "from_kafka", time)

    @overload
    def from_http(
        self, name: str, *, records: Literal["json"] = "json", **told: Unpack[PostOptions[Any]]
    ) -> Stream[Any]: ...
    @overload
    def from_http(
        self, name: str, *, as_type: type[T], records: Literal["json"] = "json", **told: Unpack[PostOptions[T]]
    ) -> Stream[T]: ...
    @overload
    def from_http(self, name: str, *, records: Literal["text"], **told: Unpack[PostOptions[str]]) -> Stream[str]: ...
    @overload
    def from_http(
        self, name: str, *, records: Literal["requests"], **told: Unpack[PostOptions[HttpRequest]]
    ) -> Stream[HttpRequest]: ...
    def from_http(
        self, name: str, *, records: RecordsAs = "json", as_type: Any = Any, **told: Unpack[PostOptions[Any]]
    ) -> Stream[Any]:
        """Begin a stream with what is posted to `http://HOST:PORT/NAME`, for as long as the job runs.

        The task that reads it listens, on the node where it runs; `job.metrics().urls` says where. A post is taken
        whole, and answered 202, or refused. With a checkpoint 202 says that it is on the disk, and counted once;
        without one that it is in memory. At most `max_waiting` posts wait for the task, others meet 503.

        `records`: "json" is a value, or with content-type application/x-ndjson one a line, decoded as `as_type`;
        "text" a line; "requests" the whole request as an HttpRequest. `key_env` names the variable, in the environment
        of the node, that holds the key which callers send as a bearer token; without one only this machine can call.
        `max_posts`: the stream ends after so many. A client that repeats a post under one Idempotency-Key has it
        counted once.

        >>> import sage
        >>> orders = sage.Flow("f").from_http("orders", port=8080, key_env="ORDERS_KEY", host="0.0.0.0")
        """
        return self._begin(source_with(name, records, as_type, told), "from_http", time_of(told))

    def _begin(
        self, source: Source[T] | PartitionedSource[T], kind: str, time: TimeOptions[T] | None = None
    ) -> Stream[T]:
        step = Read(source) if time is None else read_with(source, time)
        return Stream(self._builder, self._builder.add(step, kind=kind))


def followed(path: str) -> FollowSource:
    """Return a file to be followed as a source; raises FlowInvalid."""
    if is_url(path) or is_packed(path):
        raise refusal(f"a file that grows is on this machine and not packed, got {path}", "Leave out follow=True.")
    return FollowSource(path)


def checked_period(period_s: float | None) -> float | None:
    """Return how often something is done; raises FlowInvalid."""
    given: object = period_s
    if given is not None and not (isinstance(given, int | float) and 0.0 < given < math.inf):
        raise refusal(f"a period is a number of seconds above 0, got {period_s!r:.80}", "For example 1.0.")
    return period_s
