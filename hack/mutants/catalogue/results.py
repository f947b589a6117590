"""Mutants of results: what a point is, and what happens when the sink or the model says no."""

from __future__ import annotations

from mutants.mutant import Mutant

LINES_FILE = "jobs/streampipeline/sinks/lineprotocol.py"
WRITE_FILE = "jobs/streampipeline/sinks/influxdb_write.py"
PARQUET_FILE = "jobs/streampipeline/sinks/parquet.py"
PUBLISH_FILE = "jobs/streampipeline/publish.py"
INFLUXDB = "tests/unit/test_sinks_influxdb.py::"
PARQUET = "tests/unit/test_sinks_parquet.py::"
PUBLISH = "tests/unit/test_publish.py::"
ONE_LINE = INFLUXDB + "test_a_point_is_one_line_with_every_field"

MUTANTS = (
    Mutant(
        name="partial-field-write",
        rule="2",
        breaks="a point is written without some of its fields: those of the point before stay",
        file=LINES_FILE,
        old='NOT_FIELDS = frozenset({"window_start", "window_end", "epoch", "written_ns"})',
        new='NOT_FIELDS = frozenset({"window_start", "window_end", "epoch", "written_ns", "scored"})',
        tests=(ONE_LINE,),
    ),
    Mutant(
        name="unscored-without-output",
        rule="2",
        breaks="an unscored point keeps the prediction of the point before",
        file="jobs/streampipeline/score.py",
        old='        return _Reply([default] * len(rows), model_version="")\n',
        new='        return _Reply([None] * len(rows), model_version="")  # type: ignore[list-item]\n',
        tests=("tests/unit/test_score.py",),
    ),
    Mutant(
        name="engine-as-tag",
        rule="2",
        breaks="each engine's points are a series of their own: a window counts twice",
        file=LINES_FILE,
        old="    for name, text in sorted(tags, key=itemgetter(0)):\n",
        new='    tags.append(("engine", points["source"]))\n'
        "    for name, text in sorted(tags, key=itemgetter(0)):\n",
        tests=(ONE_LINE,),
    ),
    Mutant(
        name="time-of-the-window-end",
        rule="2",
        breaks="a point stands at another address than the window's start",
        file=LINES_FILE,
        old='pieces += [" ", pc.cast(points["window_start"], pa.string())]',
        new='pieces += [" ", pc.cast(points["window_end"], pa.string())]',
        tests=(ONE_LINE,),
    ),
    Mutant(
        name="two-divisions",
        rule="1",
        breaks="a mean is rounded twice: values differ in their last bit",
        file="jobs/streampipeline/points.py",
        old="scaled.astype(np.float64) / (n * unit).astype(np.float64)",
        new="scaled.astype(np.float64) / n / unit",
        tests=("tests/property/test_publish_points.py::test_values_are_those_of_the_contract_s_formula",),
    ),
    Mutant(
        name="401-retried",
        rule="10",
        breaks="an engine that is fenced waits for ever, and writes again once a token works",
        file=WRITE_FILE,
        old="            if refused.status == 401:\n",
        new="            if False:\n",
        tests=(INFLUXDB + "test_401_fences", PUBLISH + "test_a_revoked_token_is_fatal"),
    ),
    Mutant(
        name="4xx-drops-the-batch",
        rule="11",
        breaks="one point that is refused takes the batch with it",
        file="jobs/streampipeline/sinks/influxdb.py",
        old="        if refusal.every or end - start == 1:\n",
        new="        if True:\n",
        tests=(INFLUXDB + "test_a_bad_point_is_rejected_and_the_others_are_written",),
    ),
    Mutant(
        name="5xx-drops-the-batch",
        rule="11",
        breaks="what the server cannot take now is given up",
        file=WRITE_FILE,
        old="            if refused.status not in (400, 413, 422):\n",
        new="            if refused.status < 400:\n",
        tests=(INFLUXDB + "test_other_answers_mean_unavailable_and_are_not_retried_here",),
    ),
    Mutant(
        name="unavailable-sink-passed",
        rule="11",
        breaks="a batch that was not written counts as written",
        file=PUBLISH_FILE,
        old="            rejected += until_available(write, SinkUnavailable, self._should_stop)\n",
        new="            try:\n                rejected += write()\n"
        "            except SinkUnavailable:\n                continue\n",
        tests=(PUBLISH + "test_an_unavailable_sink_is_waited_for",),
    ),
    Mutant(
        name="unscored-not-requested",
        rule="6",
        breaks="windows that got the default keep it",
        file=PUBLISH_FILE,
        old="        self._requests.write([RepairRequest.unscored(key, start) for key, start in unscored])\n",
        new="",
        tests=(PUBLISH + "test_unscored_windows_are_requested_then_written",),
    ),
    Mutant(
        name="points-before-requests",
        rule="4",
        breaks="a crash leaves an unscored point that nobody repairs",
        file=PUBLISH_FILE,
        old="        unscored = self._request_repairs(points)\n        rejected = self._write(points)\n",
        new="        rejected = self._write(points)\n        unscored = self._request_repairs(points)\n",
        tests=(PUBLISH + "test_when_requests_can_not_be_produced_no_point_is_written",),
    ),
    Mutant(
        name="nonsense-is-a-prediction",
        rule="Decisions",
        breaks="an answer of the wrong length is written",
        file="jobs/streampipeline/score.py",
        old="        if not isinstance(predictions, list) or len(predictions) != rows:\n",
        new="        if not isinstance(predictions, list):\n",
        tests=("tests/unit/test_score.py",),
    ),
    Mutant(
        name="file-without-a-token",
        rule="10",
        breaks="a file that was begun before its writer was fenced appears after",
        file=PARQUET_FILE,
        old="                os.fsync(file.fileno())\n            self._require_token()\n",
        new="                os.fsync(file.fileno())\n",
        tests=(PARQUET + "test_a_token_taken_back_while_the_file_is_written_keeps_it_out",),
    ),
    Mutant(
        name="unfinished-files-stay",
        rule="10",
        breaks="a writer that saw its token just in time makes its file visible after the fence",
        file=PARQUET_FILE,
        old="            temporary.unlink(missing_ok=True)\n        return True\n",
        new="            break\n        return True\n",
        tests=(PARQUET + "test_after_revoke_returned_a_rename_can_not_succeed",),
    ),
    Mutant(
        name="engine-outranks-repair",
        rule="6",
        breaks="a reader of files takes an engine's value where a repair has made the final one",
        file=PARQUET_FILE,
        old='order = [*address, "generation", "_repair", "epoch", "written_ns"]',
        new='order = [*address, "generation", "epoch", "written_ns"]',
        tests=(PARQUET + "test_a_reader_takes_generation_then_repair_then_epoch_then_time",),
    ),
)
