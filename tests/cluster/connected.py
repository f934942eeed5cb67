"""Two flows over files and databases whose process, or nodes, are killed in tests. Run as a script: it goes on.

`orders` ends: a CSV file and a table become CSV, Parquet, text and tables. `followed` does not: a log that is rotated
while it is read becomes a table of how often each line came.
"""

import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import sage
from tests.cluster.checkpointed import paced
from tests.cluster.waiting import eventually

NUM_ROWS = 12_000
NUM_LINES = 4_000
_LIMIT_S = 60.0


def prepare(folder: Path, kills: tuple[int, ...]) -> None:
    """Write what the flows read, and at which orders the process that has them is killed, once each."""
    numbers = range(NUM_ROWS)
    (folder / "in.csv").write_text("id,total\n" + "".join(f"{number},{2 * number}\n" for number in numbers))
    (folder / "in.log").write_text("".join(f"{number}\n" for number in range(NUM_LINES // 2)))
    (folder / "later.log").write_text("".join(f"{number}\n" for number in range(NUM_LINES // 2, NUM_LINES)))
    for number in kills:
        (folder / f"kill-{number}").touch()
    with closing(sqlite3.connect(folder / "in.db")) as db, db:
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        db.executemany("INSERT INTO orders VALUES (?)", ((number,) for number in numbers))
    for name in ("out", "counts", "followed"):
        with closing(sqlite3.connect(folder / f"{name}.db")) as db, db:
            db.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, num INTEGER)")


def table(folder: Path, name: str) -> list[tuple[int, int]]:
    with closing(sqlite3.connect(folder / f"{name}.db", timeout=30.0)) as db:
        return db.execute(f"SELECT id, num FROM {name} ORDER BY id").fetchall()


def orders(folder: Path) -> sage.Flow:
    def survived(number: int) -> int:
        mark = folder / f"kill-{number}"
        if number % 100 == 0 and mark.exists():
            mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return paced(number)

    flow = sage.Flow("orders")
    rows = flow.read_csv(folder / "in.csv").map(lambda row: {"id": survived(int(row["id"])), "num": int(row["total"])})
    rows.write_csv(folder / "out.csv")
    rows.write_parquet(folder / "out.parquet")
    rows.to_sql(f"sqlite:///{folder}/out.db", "out", key="id")
    counts = rows.key_by(lambda row: row["id"] % 10).count()
    counts.map(lambda pair: {"id": pair[0], "num": pair[1]}).to_sql(f"sqlite:///{folder}/counts.db", "counts", key="id")
    numbers = flow.from_sql(f"sqlite:///{folder}/in.db", table="orders", order_by="id")
    numbers.map(lambda row: str(survived(row["id"]))).write_text(folder / "out.txt.gz")
    return flow


def followed(folder: Path) -> sage.Flow:
    flow = sage.Flow("followed")
    counts = flow.read_text(folder / "in.log", follow=True).key_by(int).count()
    rows = counts.map(lambda pair: {"id": pair[0], "num": pair[1]})
    rows.to_sql(f"sqlite:///{folder}/followed.db", "followed", key="id")
    return flow


def rotate(folder: Path) -> None:
    """Put the second half of the log in the place of the first; again does no harm."""
    if (folder / "later.log").exists():
        if not (folder / "in.log.1").exists():
            (folder / "in.log").rename(folder / "in.log.1")
        (folder / "later.log").rename(folder / "in.log")


def main(place: str, address: str) -> None:
    folder = Path(place)
    if (folder / "in.log.1").exists():
        rotate(folder)
    kept = sage.Checkpoint(folder / "kept", every_s=0.05)
    with sage.connect(address) as cluster:
        log = cluster.submit(followed(folder), checkpoint=kept)
        job = cluster.submit(orders(folder), checkpoint=kept)
        eventually(lambda: any((folder / "kept" / "followed").glob("*.manifest")), _LIMIT_S, log.metrics)
        rotate(folder)
        result = job.wait(_LIMIT_S)
        eventually(lambda: len(table(folder, "followed")) == NUM_LINES, _LIMIT_S, log.metrics)
        log.cancel()
        print(result.records_in)


if __name__ == "__main__":
    main(*sys.argv[1:])
