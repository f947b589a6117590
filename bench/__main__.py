"""`make bench [DATA=recording.parquet]`: the engines beside the bare limits, then a replay with two kills.

Prints Markdown and writes build/bench.json. Ratios within one run are what counts: machines differ.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import engines, limits
from streampipeline.api.load import load
from streampipeline.jobconfig import PipelineConfig, TimestampType
from streampipeline.local.flink import FlinkProcesses
from streampipeline.local.kafka import KafkaProcess
from streampipeline.local.memory import MemoryWatch
from streampipeline.local.processes import Processes
from streampipeline.local.runtime import ROOT, Runtime
from streampipeline.local.services import DaskProcesses, ModelProcess
from streampipeline.topics import ensure_source

RECORDS = 1_300_000
Report = dict[str, Any]
"""Figures by name."""
WORKDIR = ROOT / "build" / "bench"
SAMPLE = ROOT / "samples" / "nurse-stress.yaml"


def main() -> int:
    """Returns the exit code: 1 when the audit of the replay is not clean."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--data", type=Path, default=os.environ.get("DATA"), help="a recording to replay")
    parser.add_argument("--skip-replay", action="store_true")
    options = parser.parse_args()
    data = Path(options.data).resolve() if options.data else None
    shutil.rmtree(WORKDIR, ignore_errors=True)
    WORKDIR.mkdir(parents=True)
    result: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "data": data is not None,
    }
    result |= measure(data)
    if not options.skip_replay:
        result["replay"] = replay(data)
    (ROOT / "build" / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
    return 0 if options.skip_replay or clean(result["replay"]) else 1


def producer_options(data: Path | None) -> list[str]:
    """The recording, or as many made-up records, as fast as it goes."""
    source = ["--data", str(data)] if data else ["--limit", str(RECORDS)]
    return ["--rate", "max", *source]


def measure(data: Path | None) -> dict[str, Any]:
    """Bare limits and engines on one topic, one after the other."""
    runtime = Runtime.find()
    processes = Processes(WORKDIR)
    memory = MemoryWatch(processes)
    try:
        kafka = KafkaProcess(processes, home=runtime.kafka_home)
        kafka.start()
        model = ModelProcess(processes, runtime, "nurse-stress")
        model.ensure()
        while not kafka.answers():
            time.sleep(0.1)
        manifest = load(SAMPLE)
        pipeline = manifest.pipeline()
        flink_spec = pipeline.spec.primary.flink.model_copy(update={"checkpoint_interval_seconds": 1})
        spec = pipeline.spec.model_copy(
            update={"primary": pipeline.spec.primary.model_copy(update={"flink": flink_spec})}
        )
        config = PipelineConfig(
            pipeline="bench",
            uid="bench",
            spec=spec,
            avro_schema=manifest.resolve_schema(pipeline),
            bootstrap_servers=[kafka.bootstrap],
            timestamp_type=TimestampType.CREATE_TIME,
            model_url=model.url,
        )
        ensure_source(config, partitions=4)
        produced = produce(runtime, kafka, config, data)
        consumed, sample = limits.consume(config)
        bare = {"confluent-kafka consume, one process": consumed}
        bare |= limits.in_memory(config, sample, model.model_dir / "model.txt")
        flink = FlinkProcesses(
            processes,
            home=runtime.flink_home,
            python=runtime.flink_python,
            python_path=runtime.python_path,
            slots=spec.primary.flink.parallelism,
        )
        flink.ensure()
        while not flink.gateway.ready() or not flink.slots():
            time.sleep(0.2)
        bare["Flink SQL, decode and windows into a black hole"] = engines.flink_bare(
            config, flink, WORKDIR
        ).rate
        from_flink = engines.flink_engine(config, flink, WORKDIR, memory)
        flink.stop()
        from_dask = engines.dask_engine(config, DaskProcesses(processes, runtime), WORKDIR, memory)
    finally:
        processes.stop_all()
    return {
        "producer": produced,
        "bare": {name: round(value) for name, value in bare.items()},
        "engines": {
            name: {
                "records": m.records,
                "windows": m.windows,
                "seconds": round(m.seconds, 1),
                "rate": round(m.rate),
            }
            for name, m in (("flink", from_flink), ("dask-fallback", from_dask))
        },
        "peak_memory_mib": memory.peak,
    }


def produce(runtime: Runtime, kafka: KafkaProcess, config: PipelineConfig, data: Path | None) -> Report:
    """Fill the topic; returns the producer's report."""
    argv = [
        str(runtime.python), "-m", "streampipeline.producer", "--bootstrap-servers", kafka.bootstrap,
        "--topic", config.spec.source.kafka.topic, *producer_options(data),
    ]  # fmt: skip
    done = subprocess.run(
        argv,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": runtime.python_path},
    )
    report: Report = json.loads(done.stdout.splitlines()[-1])
    return report


def replay(data: Path | None) -> dict[str, Any]:
    """A whole run over the records as fast as they go, with Flink killed twice."""
    report = WORKDIR / "replay.json"
    argv = [
        sys.executable, "-m", "streampipeline.cli", "run", str(SAMPLE), "--sink", "parquet",
        "--workdir", str(WORKDIR / "run"), "--report", str(report), "--rate", "max",
        "--fault", "kill-flink@3s+10s", "--fault", "kill-flink@60s+10s",
        *(["--data", str(data)] if data else ["--producer=--limit", f"--producer={RECORDS}"]),
    ]  # fmt: skip
    subprocess.run(argv, check=False, env={**os.environ, "PYTHONPATH": f"{ROOT / 'jobs'}:{ROOT / 'audit'}"})
    result: dict[str, Any] = json.loads(report.read_text())
    return result


def clean(report: dict[str, Any]) -> bool:
    """Whether the audit found nothing wrong."""
    return not any(report[key] for key in ("lost", "doubled", "differing"))


def markdown(result: dict[str, Any]) -> str:
    """The figures as tables."""
    lines = [f"Machine: {result['machine']}.", "", "| bare limit | records/s |", "|---|---|"]
    lines += [f"| {name} | {value:,} |" for name, value in result["bare"].items()]
    lines += ["", "| engine | records | windows | seconds | records/s |", "|---|---|---|---|---|"]
    for name, m in result["engines"].items():
        lines.append(f"| {name} | {m['records']:,} | {m['windows']:,} | {m['seconds']} | {m['rate']:,} |")
    lines += ["", "| part | peak memory, MiB |", "|---|---|"]
    lines += [f"| {name} | {value:,} |" for name, value in sorted(result["peak_memory_mib"].items())]
    if "replay" in result:
        r = result["replay"]
        lines += [
            "",
            f"Replay with Flink killed twice: {r['produced']:,} records = {r['counted']:,} counted + "
            f"{r['dead_lettered']:,} dead-lettered + {r['pending']:,} pending; windows {r['by_source']}; "
            f"lost {r['lost']}, doubled {r['doubled']}, differing {r['differing']}; phases "
            + " ".join(phase["phase"] for phase in r["phases"]),
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
