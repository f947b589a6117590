#!/usr/bin/env python3
"""The whole product on a real cluster: Flink is killed and held down, Dask takes over, Flink comes back.

    python3 hack/demo.py [--seconds 120] [--hold 60] [--data RECORDING] [--report build/demo.json]

Makes the cluster and everything on it if it is not there. What it started stays, to be looked at: `make
cluster-down` removes it. Run it with the environment that `hack/bootstrap.py` makes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from bootstrap import CHECKOUT
from cluster import ERRORS
from testbed import product
from testbed.assemble import assemble
from testbed.bed import Bed, BedError
from testbed.outcome import Watcher, outcome, settled
from toolchain.clusters import NAME as CLUSTER
from toolchain.console import Console

NAMESPACE, NAME = "demo", "nurse-stress"
READY_SECONDS, FALLBACK_SECONDS, SETTLE_SECONDS = 300, 120, 300
KILL_AT_SECONDS = 30.0
WRONG = ("lost", "doubled", "differing")


def main() -> None:
    """Run the demo; the exit code is 0 only when all went as it is to go, and the audit is clean."""
    parser = argparse.ArgumentParser(description="A failover on a real cluster, from nothing.")
    parser.add_argument("--seconds", type=float, default=120, help="length of the stream")
    parser.add_argument("--hold", type=float, default=60, help="how long Flink is held down")
    parser.add_argument("--data", type=Path, help="a recording to replay, Parquet or CSV")
    parser.add_argument("--rate", help="records a second; default 600, of a recording 10,000")
    parser.add_argument("--report", type=Path, default=CHECKOUT / "build/demo.json")
    parser.add_argument("--cluster", default=CLUSTER, help="name of the kind cluster (default: %(default)s)")
    options = parser.parse_args()
    console = Console()
    try:
        bed = assemble(console, options.cluster)
        result = run(bed, options)
    except (*ERRORS, BedError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit("demo: interrupted; `make cluster-down` removes what is there")
    result["seconds"] = round(console.seconds, 1)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(0 if tell(result, options.report) else 1)


def run(bed: Bed, options: argparse.Namespace) -> dict[str, Any]:
    """From an installed chart to the audit. Raises BedError."""
    bed.say("helm upgrade --install streampipeline charts/streampipeline")
    product.install(bed, [])
    bed.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
    bed.namespace(NAMESPACE)
    product.grant(bed, NAMESPACE)
    product.start_broker(bed, NAMESPACE)
    bed.say(f"kubectl apply -n {NAMESPACE} -f samples/nurse-stress.yaml")
    bed.apply(NAMESPACE, *product.sample(NAME))
    watcher = Watcher(bed, NAMESPACE, NAME)
    try:
        bed.until(
            "the pipeline is Ready",
            lambda: bed.condition(NAMESPACE, NAME, "Ready").get("status") == "True",
            seconds=READY_SECONDS,
        )
        producer = product.Producer(bed, NAMESPACE)
        producer.start(
            rate=options.rate or ("10000" if options.data else "600"),
            seconds=None if options.data else options.seconds,
            recording=options.data.resolve() if options.data else None,
        )
        bed.say("the stream begins")
        time.sleep(KILL_AT_SECONDS)
        bed.say(f"Flink's pods are killed, and each that comes back, for {options.hold:.0f} s")
        killed = time.time_ns() // 1_000_000
        product.hold_flink_down(bed, NAMESPACE, NAME, options.hold)
        bed.say("Flink may come back")
        bed.until("the stream is over", lambda: not producer.running(), seconds=options.seconds + 600)
        bed.until(
            "Normal again, nothing left to do, Dask at zero",
            lambda: settled(bed, NAMESPACE, NAME),
            seconds=SETTLE_SECONDS,
        )
        result = outcome(
            bed,
            watcher,
            NAMESPACE,
            NAME,
            faults={f"kill-flink@{KILL_AT_SECONDS:g}s+{options.hold:g}s": killed},
            producer=producer.report(),
        )
    finally:
        watcher.close()
    return {**result, "points": product.newest_points(bed, NAMESPACE, NAME)}


def tell(result: dict[str, Any], report: Path) -> bool:
    """The closing table; whether all went as it is to go."""
    began = result["phases"][0]["at"]
    print("\nstress levels in InfluxDB, the newest of each nurse:")
    for point in result["points"]:
        print(f"  {point['time']}  {point['key']:<10} stress_level {point['value']}  by {point['source']}")
    print("\nwhat happened                      when")
    rows = [(f"{change['phase']}", change["at"]) for change in result["phases"]]
    rows += [(f"fault {fault['fault']}", fault["at"]) for fault in result["faults"]]
    for text, at in sorted(rows, key=lambda row: row[1]):
        print(f"  {text:<32} +{(at - began) / 1000:.0f} s")
    print(f"  kill to Fallback                 {result['seconds_to_fallback']} s")
    print(f"  kill to the first Dask result    {result['seconds_to_first_fallback_result']} s")
    windows = ", ".join(f"{source} {count}" for source, count in result["by_source"].items())
    clean = not any(result[key] for key in WRONG)
    print(
        f"audit: {result['produced']} records produced = {result['counted']} counted + "
        f"{result['dead_lettered']} dead-lettered + {result['pending']} pending; "
        f"{result['windows_expected']} windows ({windows}); lost {result['lost']}, "
        f"doubled {result['doubled']}, differing {result['differing']}"
    )
    switched = {"Fallback", "Resuming"} <= {change["phase"] for change in result["phases"]}
    ended = result["phases"][-1]["phase"] == "Normal"
    print(f"{result['seconds']:.0f} s in all; report: {report}")
    return clean and switched and ended


if __name__ == "__main__":
    main()
