"""Mutants of values: equal to the bit, in every engine and in any order."""

from __future__ import annotations

from mutants.mutant import MAVEN, Mutant

SQL_FILE = "jobs/streampipeline/engines/flink/sql.py"
SQL = "tests/unit/test_flink_sql.py::"

MUTANTS = (
    Mutant(
        name="float-sums-in-dask",
        rule="1",
        breaks="sums are rounded, by the order in which their parts are added",
        file="jobs/streampipeline/windows.py",
        old="            return values.sum()\n",
        new="            return values.cast(pl.Float64).sum().cast(pl.Int64)\n",
        tests=("tests/unit/test_windows.py::test_sums_of_the_largest_values_are_exact",),
    ),
    Mutant(
        name="float-sums-in-flink",
        rule="1",
        breaks="sums are rounded, by the order in which their parts are added",
        file=SQL_FILE,
        old='expression = f"{call}({name(scaled_column_of(aggregate, columns))})"',
        new='expression = f"{call}(CAST({name(scaled_column_of(aggregate, columns))} AS DOUBLE))"',
        tests=(SQL + "test_each_aggregate_reads_its_scaled_column",),
    ),
    Mutant(
        name="rounding-half-to-even",
        rule="1",
        breaks="Dask rounds a half as NumPy does, Flink as the contract says",
        file="jobs/streampipeline/scaling.py",
        old="np.floor(x * 10.0**decimals + 0.5)",
        new="np.rint(x * 10.0**decimals)",
        tests=("tests/unit/test_decode_parts.py::test_halves_go_up",),
    ),
    Mutant(
        name="rounding-half-to-even-in-java",
        rule="1",
        breaks="Flink rounds a half to the even neighbour, Dask as the contract says",
        file="flink-decoder/src/main/java/io/streampipeline/decoder/Scaling.java",
        old="Math.floor(x * power + 0.5)",
        new="Math.rint(x * power)",
        tests=(MAVEN + "ScalingTest",),
    ),
    Mutant(
        name="hash-of-offsets-only",
        rule="2",
        breaks="equal offsets of two partitions cannot be told apart",
        file="jobs/streampipeline/record_hash.py",
        old="z = partition.astype(np.int64).view(np.uint64) * _PARTITION + offset",
        new="z = offset.astype(np.int64).view(np.uint64)",
        tests=("tests/unit/test_decode_parts.py::test_hashes_are_those_of_the_contract",),
    ),
)
