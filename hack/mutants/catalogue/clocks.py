"""Mutants of partition clocks: when a window is closed, and what comes after that."""

from __future__ import annotations

from mutants.mutant import MAVEN, Mutant

SQL_FILE = "jobs/streampipeline/engines/flink/sql.py"
DASK_FILE = "jobs/streampipeline/engines/dask/engine.py"
TASKS_FILE = "jobs/streampipeline/engines/dask/tasks.py"
CLOCKS_FILE = "jobs/streampipeline/engines/dask/clocks.py"
SQL = "tests/unit/test_flink_sql.py::"
WAVES = "tests/unit/test_dask_waves.py::"
CLOCKS = "tests/unit/test_dask_clocks.py::"

MUTANTS = (
    Mutant(
        name="clocks-on-event-time-in-dask",
        rule="Exactness",
        breaks="one record of the future closes windows that on-time records still belong to",
        file=TASKS_FILE,
        old='newest = decoded.group_by("partition").agg(pl.col("t").max())',
        new='newest = decoded.group_by("partition").agg(pl.col("e").max())',
        tests=(WAVES + "test_a_partitions_clock_is_its_newest_kafka_timestamp",),
    ),
    Mutant(
        name="clocks-on-event-time-in-flink",
        rule="Exactness",
        breaks="one record of the future closes windows that on-time records still belong to",
        file=SQL_FILE,
        old="WATERMARK FOR `e` AS `T` - {seconds(lag)}",
        new="WATERMARK FOR `e` AS `e` - {seconds(lag)}",
        tests=(SQL + "test_the_watermark_is_behind_by_delay_disorder_and_one_millisecond",),
    ),
    Mutant(
        name="window-closed-one-ms-early-in-dask",
        rule="Exactness",
        breaks="the last on-time record of a window can come after it was published",
        file=CLOCKS_FILE,
        old="    return (clock - allowed_delay_ms) // slide_ms * slide_ms\n",
        new="    return (clock - allowed_delay_ms + 1) // slide_ms * slide_ms\n",
        tests=(CLOCKS + "test_a_window_closes_when_no_on_time_record_can_come",),
    ),
    Mutant(
        name="window-closed-one-ms-early-in-flink",
        rule="Exactness",
        breaks="the last on-time record of a window can come after it was published",
        file=SQL_FILE,
        old="allowed_delay_seconds * 1000 + config.disorder_ms + 1\n",
        new="allowed_delay_seconds * 1000 + config.disorder_ms\n",
        tests=(SQL + "test_the_watermark_is_behind_by_delay_disorder_and_one_millisecond",),
    ),
    Mutant(
        name="fastest-partition-sets-the-clock",
        rule="Exactness",
        breaks="windows are closed before the slower partitions have brought their records",
        file=CLOCKS_FILE,
        old="return min(t for partition, t in self.newest.items() if partition not in idle)",
        new="return max(t for partition, t in self.newest.items() if partition not in idle)",
        tests=(CLOCKS + "test_the_slowest_partition_sets_the_clock",),
    ),
    Mutant(
        name="disorder-not-taken-off",
        rule="9",
        breaks="on a CreateTime topic a record that runs back a little is dropped",
        file=CLOCKS_FILE,
        old=" if partition not in idle) - self.disorder_ms",
        new=" if partition not in idle)",
        tests=(CLOCKS + "test_disorder_is_taken_off",),
    ),
    Mutant(
        name="idle-with-unread-records-in-dask",
        rule="8",
        breaks="a partition that is behind, and has records, is passed as idle: they are lost",
        file=CLOCKS_FILE,
        old="            if position < ends[partition]:\n",
        new="            if False:\n",
        tests=(CLOCKS + "test_a_partition_not_read_to_its_end_is_waited_for",),
    ),
    Mutant(
        name="idle-with-unread-records-in-flink",
        rule="8",
        breaks="a partition that is behind, and has records, is passed as idle: they are lost",
        file="flink-decoder/src/main/java/io/streampipeline/clock/PartitionClock.java",
        old="        if (!look.atEnd(partition, position)) {\n",
        new="        if (false) {\n",
        tests=(MAVEN + "ClockedReaderTest",),
    ),
    Mutant(
        name="idle-without-wall-clock",
        rule="8",
        breaks="on a CreateTime topic a partition is idle although it was written to just now",
        file=CLOCKS_FILE,
        old="and (not self.by_wall_clock or ",
        new="and (True or ",
        tests=(CLOCKS + "test_create_time_waits_by_the_wall_clock_too",),
    ),
    Mutant(
        name="flinks-own-idleness",
        rule="8",
        breaks="Flink passes partitions by its own wall clock, with records unread",
        file=SQL_FILE,
        old='        "table.local-time-zone": "UTC",\n',
        new='        "table.local-time-zone": "UTC",\n        "table.exec.source.idle-timeout": "10 s",\n',
        tests=(SQL + "test_the_session_follows_the_spec_and_the_job_is_found_by_its_epoch",),
    ),
    Mutant(
        name="dropped-record-not-noticed",
        rule="9",
        breaks="a record that came after its window was published is in no value, and nobody asks for it",
        file=DASK_FILE,
        old='            for key, start in closed.select("key", "window_start").iter_rows()\n',
        new="            for key, start in ()\n",
        tests=(WAVES + "test_a_record_behind_the_frontier_asks_for_a_repair",),
    ),
    Mutant(
        name="dropped-before-the-boundary-not-noticed",
        rule="9",
        breaks="a record that no engine can have counted is in no value, and nobody asks for it",
        file=TASKS_FILE,
        old="            *_requests(dropped, job.config, RepairReason.DROPPED),\n",
        new="",
        tests=(WAVES + "test_a_record_that_no_engine_can_have_counted_asks_for_a_repair",),
    ),
)
