"""Mutants of the engines: what they publish, what they refuse, and in which order they act."""

from __future__ import annotations

from mutants.mutant import Mutant

SQL_FILE = "jobs/streampipeline/engines/flink/sql.py"
DASK_FILE = "jobs/streampipeline/engines/dask/engine.py"
TASKS_FILE = "jobs/streampipeline/engines/dask/tasks.py"
SQL = "tests/unit/test_flink_sql.py::"
WAVES = "tests/unit/test_dask_waves.py::"
ORDER = WAVES + "test_requests_and_dead_letters_then_points_then_progress_then_offsets"

MUTANTS = (
    Mutant(
        name="drain-on-stop-in-flink",
        rule="3",
        breaks="a Flink job that is stopped fires its open windows: part-windows are published",
        file="jobs/streampipeline/engines/flink/gateway.py",
        old='reply = self._http.patch(f"/jobs/{job_id}", params={"mode": "cancel"})',
        new='reply = self._http.post(f"/jobs/{job_id}/stop", json={"drain": True})',
        tests=("tests/unit/test_flink_gateway.py",),
    ),
    Mutant(
        name="drain-on-stop-in-dask",
        rule="3",
        breaks="a Dask engine that is stopped publishes its open windows",
        file=DASK_FILE,
        old="        except Stopped:\n            pass\n",
        new="        except Stopped:\n            pass\n"
        "        self._publisher.publish(windows.to_arrow(self._open, self._config.spec))\n",
        tests=(WAVES + "test_open_windows_are_left_to_the_next_engine",),
    ),
    Mutant(
        name="part-window-in-flink",
        rule="3",
        breaks="Flink publishes windows that end by its boundary, of which it has read a part",
        file=SQL_FILE,
        old="FROM finished\nWHERE CAST(`window_end` AS TIMESTAMP_LTZ(3)) > {_boundary(config)}",
        new="FROM finished\nWHERE CAST(`window_end` AS TIMESTAMP_LTZ(3)) >= {_boundary(config)}",
        tests=(SQL + "test_only_windows_after_the_boundary_are_published",),
    ),
    Mutant(
        name="part-window-in-dask",
        rule="3",
        breaks="Dask publishes windows that end by its boundary, of which it has read a part",
        file=DASK_FILE,
        old='partial.filter(pl.col("window_end") > self._frontier)',
        new="partial",
        tests=(WAVES + "test_no_window_that_ends_by_the_boundary_is_published",),
    ),
    Mutant(
        name="offsets-before-points",
        rule="4",
        breaks="offsets are committed before the windows of their records are in the sink",
        file=DASK_FILE,
        old="        published = self._close_windows()\n        self._commit(wave.positions)\n",
        new="        self._commit(wave.positions)\n        published = self._close_windows()\n",
        tests=(ORDER,),
    ),
    Mutant(
        name="progress-before-points",
        rule="4",
        breaks="windows are said to be in the sink before they are",
        file=DASK_FILE,
        old="        self._publisher.publish(windows.to_arrow(finished, self._config.spec))\n"
        "        self._progress.write(boundary, finished.height)\n",
        new="        self._progress.write(boundary, finished.height)\n"
        "        self._publisher.publish(windows.to_arrow(finished, self._config.spec))\n",
        tests=(ORDER,),
    ),
    Mutant(
        name="requests-after-points",
        rule="4",
        breaks="late records and dead letters are handed in after the offsets that cover them can be",
        file=DASK_FILE,
        old="        self._requests.write(requests)\n        self._outbox.flush()\n",
        new="        self._requests.write(requests)\n",
        tests=(ORDER,),
    ),
    Mutant(
        name="progress-at-least-once",
        rule="4",
        breaks="Flink's progress is visible without the checkpoint that it stands for",
        file=SQL_FILE,
        old='            "sink.delivery-guarantee": "exactly-once",\n',
        new='            "sink.delivery-guarantee": "at-least-once",\n',
        tests=(SQL + "test_progress_names_its_assignment_and_is_exactly_once",),
    ),
    Mutant(
        name="progress-by-records-alone",
        rule="4",
        breaks="Flink's progress stands while all records are late or refused, and Flink counts as slow",
        file=SQL_FILE,
        old="TABLE ended, DESCRIPTOR(`window_time`)",
        new="TABLE published, DESCRIPTOR(`window_time`)",
        tests=(SQL + "test_progress_goes_on_where_no_record_in_time_lies_in_a_window",),
    ),
    Mutant(
        name="transactions-of-each-epoch",
        rule="4",
        breaks="the next job does not abort what a dead one left open, which hides progress",
        file=SQL_FILE,
        old='f"streampipeline-{config.uid}-progress"',
        new='f"streampipeline-{config.uid}-progress-{config.assignment.epoch}"',
        tests=(SQL + "test_progress_names_its_assignment_and_is_exactly_once",),
    ),
    Mutant(
        name="late-counted-in-dask",
        rule="Exactness",
        breaks="a late record is in an engine's value when it came before the window was closed",
        file=TASKS_FILE,
        old="include_late=False",
        new="include_late=True",
        tests=(WAVES + "test_only_on_time_records_are_in_an_engines_value",),
    ),
    Mutant(
        name="late-counted-in-flink",
        rule="Exactness",
        breaks="a late record is in an engine's value when it came before the window was closed",
        file=SQL_FILE,
        old="WHERE `refused` IS NULL AND NOT `late`",
        new="WHERE `refused` IS NULL",
        tests=(SQL + "test_only_on_time_records_are_in_windows_and_the_rest_goes_elsewhere",),
    ),
    Mutant(
        name="late-by-the-wall-clock",
        rule="Exactness",
        breaks="whether a record is late depends on how soon it is read",
        file=SQL_FILE,
        old="  `T` > `e` + {seconds(times.allowed_delay_seconds * 1000)} AS `late`",
        new="  CURRENT_WATERMARK(`e`) > `e` + {seconds(times.allowed_delay_seconds * 1000)} AS `late`",
        tests=(SQL + "test_records_are_judged_by_their_two_times",),
    ),
    Mutant(
        name="late-not-requested-in-dask",
        rule="6",
        breaks="no repair is asked for late records",
        file=TASKS_FILE,
        old="            *_requests(late, job.config, RepairReason.LATE),\n",
        new="",
        tests=(WAVES + "test_only_on_time_records_are_in_an_engines_value",),
    ),
    Mutant(
        name="late-not-requested-in-flink",
        rule="6",
        breaks="no repair is asked for late records",
        file=SQL_FILE,
        old="FROM judged WHERE `refused` IS NULL AND `late`;",
        new="FROM judged WHERE FALSE;",
        tests=(SQL + "test_only_on_time_records_are_in_windows_and_the_rest_goes_elsewhere",),
    ),
    Mutant(
        name="dead-letters-dropped-in-dask",
        rule="7",
        breaks="refused records vanish",
        file=DASK_FILE,
        old="            self._dead_letters.write(result.dead)\n",
        new="            pass\n",
        tests=(ORDER,),
    ),
    Mutant(
        name="dead-letters-dropped-in-flink",
        rule="7",
        breaks="refused records vanish",
        file=SQL_FILE,
        old="FROM judged WHERE `refused` IS NOT NULL;",
        new="FROM judged WHERE FALSE;",
        tests=(SQL + "test_only_on_time_records_are_in_windows_and_the_rest_goes_elsewhere",),
    ),
)
