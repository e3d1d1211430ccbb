"""Which processes may share a batch, and which lasting folder belongs to which run."""

import pytest

from components.shared.errors import InputError
from components.shared.training.launch import check_shares, lasting_folder


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_divisors_share_a_batch(processes):
    check_shares(8, processes, "rows")


@pytest.mark.parametrize("processes", [-1, 0, 3, 16])
def test_others_are_told_the_divisors(processes):
    with pytest.raises(
        InputError, match=f"processes is {processes}, which does not divide a batch of 8 shoppers"
    ) as caught:
        check_shares(8, processes, "shoppers")
    assert caught.value.mend == "use one of: 1, 2, 4, 8"


def test_a_lasting_folder_belongs_to_settings_and_contents(tmp_path):
    data, moved = tmp_path / "rows.parquet", tmp_path / "elsewhere.parquet"
    data.write_bytes(b"rows of monday")
    moved.write_bytes(b"rows of monday")
    settings = {"epochs": 2, "sampling": {"seed": 1}}
    folder = lasting_folder(tmp_path, settings, [data])
    assert folder.parent == tmp_path
    assert lasting_folder(tmp_path, {"sampling": {"seed": 1}, "epochs": 2}, [moved]) == folder
    assert lasting_folder(tmp_path, {"epochs": 3, "sampling": {"seed": 1}}, [data]) != folder
    data.write_bytes(b"rows of tuesday")
    assert lasting_folder(tmp_path, settings, [data]) != folder
