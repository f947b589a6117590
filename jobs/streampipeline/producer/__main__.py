"""`python -m streampipeline.producer`: sends records and prints, at its end, what it sent as JSON."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from streampipeline.producer.settings import DEFAULT_RATE, Clock, ProducerError, Settings, Silence


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 all delivered, 1 some not, 2 wrong arguments or data, 3 Kafka not reached."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="producer: %(message)s")
    parser = _parser()
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # Not at the top: help, wrong arguments and an early stop need none of the libraries.
    from streampipeline.producer.run import produce

    try:
        report = produce(
            _settings(options), stop, lambda: logging.getLogger(__name__).info("sending to %s", options.topic)
        )
    except ProducerError as error:
        print(f"producer: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(report.as_dict()), flush=True)
    return 1 if report.failures else 0


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        bootstrap_servers=options.bootstrap_servers,
        topic=options.topic,
        data=options.data,
        seed=options.seed,
        nurses=options.nurses,
        partitions=options.partitions,
        replication=options.replication,
        rate=options.rate,
        clock=options.clock,
        end_ms=options.end,
        limit=options.limit,
        duration=options.duration,
        max_gap_seconds=None if options.max_gap_seconds == 0 else options.max_gap_seconds,
        poison=options.poison,
        late=options.late,
        late_seconds=options.late_seconds,
        silences=tuple(options.silent_partition),
        properties=dict(options.property),
        connect_attempts=options.connect_attempts,
        delivery_seconds=options.delivery_seconds,
        flush_seconds=options.flush_seconds,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streampipeline.producer",
        description="Send records of nurses' wristbands to a Kafka topic, as Avro, keyed by nurse.",
    )
    add = parser.add_argument
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
    add("--bootstrap-servers", default=servers, help="host:port,... (also KAFKA_BOOTSTRAP_SERVERS)")
    add("--topic", default="stress-topic", help="topic; made when it is missing")
    add(
        "--data", type=Path, help="recording, Parquet or CSV, to replay; without: signals made up from --seed"
    )
    add("--seed", type=int, default=1, help="of the signals and of the faults")
    add("--nurses", type=_positive, default=15, help="of the signals made up")
    add("--partitions", type=_positive, default=4, help="of a topic that is made")
    add("--replication", type=int, default=-1, help="of a topic that is made; -1: the broker's default")
    add("--rate", type=_rate, default=DEFAULT_RATE, help="records a second, or max")
    add(
        "--clock",
        type=Clock,
        choices=list(Clock),
        help="event times: live (when a record is due) or recorded "
        "(shifted to end at --end; sets Kafka timestamps itself). Default: recorded with --rate max, "
        "else live",
    )
    add("--end", type=int, help="event time of the recording's end in ms UTC (recorded clock); default: now")
    add("--limit", type=_positive, help="stop after so many records")
    add("--duration", type=float, help="stop after so many seconds")
    add(
        "--max-gap-seconds",
        type=float,
        default=60.0,
        help="shorten longer gaps of a nurse's recording; 0: keep",
    )
    add("--poison", type=int, default=0, help="so many undecodable records among the others")
    add("--late", type=int, default=0, help="so many records with an earlier event time")
    add("--late-seconds", type=float, default=10.0, help="by how much it is earlier")
    add(
        "--silent-partition",
        type=_silence,
        action="append",
        default=[],
        metavar="P:FROM:TO",
        help="leave out records of partition P that are due from second FROM to TO",
    )
    add("--property", type=_property, action="append", default=[], metavar="KEY=VALUE", help="of librdkafka")
    add("--connect-attempts", type=_positive, default=10, help="to reach Kafka at the start, 3 s each")
    add("--delivery-seconds", type=float, default=300.0, help="how long to try to deliver a record")
    add("--flush-seconds", type=float, default=60.0, help="how long to wait for deliveries at the end")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, is {number}")
    return number


def _rate(text: str) -> float | None:
    if text == "max":
        return None
    rate = float(text)
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, or max; is {text}")
    return rate


def _silence(text: str) -> Silence:
    partition, start, end = text.split(":")
    return Silence(int(partition), float(start), float(end))


def _property(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, is {text}")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
