"""The right to write, taken back: for ever, however late the start that would make it comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from streampipeline.jobconfig import EngineName, ParquetEndpoint
from streampipeline.sinks.parquet import ParquetAdmin
from streampipeline.sinks.tokens import RetiredError, WriteTokens

FLINK = EngineName.FLINK


@pytest.fixture
def tokens(tmp_path: Path) -> WriteTokens:
    return WriteTokens(ParquetAdmin(ParquetEndpoint(path=str(tmp_path / "points"), token_file="")))


def test_a_token_is_issued_any_number_of_times(tokens: WriteTokens, tmp_path: Path) -> None:
    for _ in range(2):
        tokens.issue(1, FLINK, tmp_path / "token")
        assert (tmp_path / "token").exists()


@pytest.mark.parametrize("issued", [True, False])
def test_a_token_that_was_revoked_is_not_made_again(
    tokens: WriteTokens, tmp_path: Path, issued: bool
) -> None:
    if issued:
        tokens.issue(1, FLINK, tmp_path / "token")
    tokens.revoke(1, FLINK, tmp_path / "token")

    with pytest.raises(RetiredError):
        tokens.issue(1, FLINK, tmp_path / "token")

    assert not (tmp_path / "token").exists()
    tokens.issue(2, FLINK, tmp_path / "other")
    assert (tmp_path / "other").exists()
