"""Numbers of processes that may share a batch, and the digest of a run."""

import re

import pytest

from components.shared.errors import InputError
from components.shared.training.launch import check_shares, run_digest


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_divisors_of_the_batch_size_are_accepted(processes):
    check_shares(8, processes, "rows")


@pytest.mark.parametrize("processes", [-1, 0, 3, 16])
def test_invalid_group_sizes_list_the_valid_divisors(processes):
    with pytest.raises(
        InputError, match=f"processes is {processes}, which does not divide a batch of 8 shoppers"
    ) as caught:
        check_shares(8, processes, "shoppers")
    assert caught.value.fix == "use one of: 1, 2, 4, 8"


def test_digest_depends_only_on_settings_and_file_contents(tmp_path):
    data, moved = tmp_path / "rows.parquet", tmp_path / "elsewhere.parquet"
    data.write_bytes(b"rows of monday")
    moved.write_bytes(b"rows of monday")
    settings = {"epochs": 2, "sampling": {"seed": 1}}
    digest = run_digest(settings, [data])
    assert re.fullmatch("[0-9a-f]{16}", digest)
    assert run_digest({"sampling": {"seed": 1}, "epochs": 2}, [moved]) == digest
    assert run_digest({"epochs": 3, "sampling": {"seed": 1}}, [data]) != digest
    data.write_bytes(b"rows of tuesday")
    assert run_digest(settings, [data]) != digest
