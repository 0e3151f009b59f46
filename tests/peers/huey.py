"""Measures Huey over SQLite, each commit durable; prints one JSON object a line.

Run it with `python -I`: else the folder of this file, which is named like the package, would be searched first.

Huey has no bulk enqueue: its `map` enqueues one by one. So there is no such figure.
"""

import json
import math
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from huey import SqliteHuey
from huey.signals import SIGNAL_COMPLETE

# As much as the peers in Rust do; `shared.rs` says what each is.
SINGLE = 2_000
BULK = 50_000
DRAIN = 4_992
DRAIN_DEEP = 1_000
TRIES = 200
# Tries of the consumer as it is shipped, each of which takes some 100 ms and is left idle for longer.
SHIPPED_TRIES = 100
# Huey logs an error of its storage and goes on, so a wait must end by itself.
TIME_LIMIT_S = 600


def open_huey(file: Path, *, durable: bool = True) -> SqliteHuey:
    """A queue over that file. `fsync` is SQLite's `synchronous`: FULL or OFF; the journal is a WAL by default."""
    return SqliteHuey("items", filename=str(file), fsync=durable)


def check_durable(huey: SqliteHuey) -> None:
    """Raises unless each commit is on the disk before it answers."""
    [(journal,)] = huey.storage.sql("pragma journal_mode", results=True)
    [(synchronous,)] = huey.storage.sql("pragma synchronous", results=True)
    if (journal, synchronous) != ("wal", 2):
        raise RuntimeError(f"not durable: {journal}, synchronous = {synchronous}")


def item(number: int) -> str:
    """What an item is, as long as those of Tollgate's own figures."""
    return f"https://catalogue.example/{number:016x}"


def do_nothing(_item: str) -> None:
    """A task that does nothing. It returns nothing either, which Huey's documentation asks for where none is read."""


def enqueue(huey: SqliteHuey, count: int) -> float:
    """Enqueues one at a time; gives how many seconds it took."""
    task = huey.task()(do_nothing)
    start = time.perf_counter()
    for number in range(count):
        task(item(number))
    return time.perf_counter() - start


def single(file: Path) -> None:
    """Enqueues one at a time."""
    huey = open_huey(file)
    check_durable(huey)
    print_rate("single", SINGLE, enqueue(huey, SINGLE))


def drain(figure: str, file: Path, queued: int, count: int) -> None:
    """One worker of Huey's consumer runs tasks until so many of those that are queued are complete.

    Huey takes a task out of its database before it runs it, and writes nothing after: one commit a task where others
    have two, and a task that was running when the power failed is gone.
    """
    # What isn't measured may be quick.
    filler = open_huey(file, durable=False)
    enqueue(filler, queued)
    filler.storage.close()

    huey = open_huey(file)
    check_durable(huey)
    huey.task()(do_nothing)
    ends: list[float] = []
    drained = threading.Event()

    @huey.signal(SIGNAL_COMPLETE)
    def complete(_signal: str, _task: object) -> None:
        ends.append(time.perf_counter())
        if len(ends) == count:
            drained.set()

    consumer = huey.create_consumer(workers=1, periodic=False)
    start = time.perf_counter()
    consumer.start()
    if not drained.wait(TIME_LIMIT_S):
        raise TimeoutError(f"{len(ends)} tasks of {count} were complete after {TIME_LIMIT_S} s")
    consumer.stop(graceful=True)
    print_rate(figure, count, ends[count - 1] - start)


def pickup(figure: str, file: Path, tries: int, pause: Callable[[int], float], **polling: float) -> None:
    """Enqueues one at a time for an idle consumer, and takes the time until each is begun."""
    huey = open_huey(file)
    check_durable(huey)
    beginnings: queue.SimpleQueue[float] = queue.SimpleQueue()

    @huey.task()
    def begin(_item: str) -> None:
        beginnings.put(time.perf_counter())

    consumer = huey.create_consumer(workers=1, periodic=False, **polling)
    consumer.start()
    took = []
    for number in range(tries):
        time.sleep(pause(number))
        start = time.perf_counter()
        begin(item(number))
        took.append(beginnings.get(timeout=TIME_LIMIT_S) - start)
    consumer.stop(graceful=True)
    took.sort()
    line = {"figure": figure, "durable": True, "p50_ms": percentile(took, 50), "p99_ms": percentile(took, 99)}
    print(json.dumps(line), flush=True)


def percentile(ordered: list[float], percent: int) -> float:
    """The smallest of these seconds that so many percent of them don't exceed, in milliseconds."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] * 1_000


def print_rate(figure: str, count: int, seconds: float) -> None:
    """Prints how many were done in a second."""
    print(json.dumps({"figure": figure, "durable": True, "per_second": count / seconds}), flush=True)


def main() -> None:
    """Measures all in the scratch folder that is named."""
    if len(sys.argv) != 2:
        sys.exit("give a scratch folder")
    scratch = Path(sys.argv[1])
    single(scratch / "single.db")
    drain("drain-deep", scratch / "drain-deep.db", BULK, DRAIN_DEEP)
    drain("drain", scratch / "drain.db", DRAIN, DRAIN)
    # SqliteHuey polls. Its documentation leaves latency to `delay` and `backoff`: here it looks every 5 ms, always.
    # The pauses are those of `shared.rs`; their lengths differ, so that no try keeps step with the polls.
    pickup(
        "pickup",
        scratch / "pickup.db",
        TRIES,
        lambda number: (20_000 + number * 7_919 % 10_000) / 1_000_000,
        initial_delay=0.005,
        backoff=1.0,
    )
    # As it is shipped it looks every 100 ms at first and ever more seldom while it is idle, every 10 s in the end;
    # after pauses as short as these it looks every 100 to 200 ms.
    pickup(
        "pickup-as-shipped",
        scratch / "pickup-as-shipped.db",
        SHIPPED_TRIES,
        lambda number: (100_000 + number * 79_193 % 300_000) / 1_000_000,
    )


if __name__ == "__main__":
    main()
