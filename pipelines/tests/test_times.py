"""Formats of times on the command line: what a hint says can be pasted."""

import re
import shlex

import duckdb
import pytest

from components.shared.errors import InputError
from components.shared.schema.data_options import DataOptions
from components.shared.schema.time_words import LOOKS, looks_like
from pipelines.config import given_options

WRITTEN = {
    "10/Oct/2000:13:55:36 -0700": 1, "2024年03月01日": 1, "31.12.2023": 1, "31.12.2023 08:26": 1, "11/12/2010": 2,
    "11/12/2010 08:26": 2,
}  # fmt: skip
"""A time -> number of formats that its hint has."""


def test_every_hint_with_a_format_is_tried():
    with_format = [pattern for pattern, meaning in LOOKS if "time_format" in meaning]
    assert all(any(re.fullmatch(pattern, text) for text in WRITTEN) for pattern in with_format)


@pytest.mark.parametrize("written", WRITTEN)
def test_the_options_of_a_hint_are_read_by_a_shell_and_the_parser(written):
    settings = [shlex.split(option)[1] for option in re.findall(r"--set '[^']*'", looks_like(written))]
    assert len(settings) == WRITTEN[written]
    for setting in settings:
        given = given_options(None, [setting])
        form = DataOptions.read(given["data"], "data").time_format
        assert duckdb.execute("SELECT strptime(?, ?)", [written, form]).fetchall()


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M", "%d.%m.%Y", "%Y%m%d", "%H:%M %d-%m-%Y"])
def test_a_value_that_begins_with_a_percent_sign_is_text(form):
    assert given_options(None, [f"data.time_format={form}"]) == {"data": {"time_format": form}}
    assert given_options(None, [f'data.time_format="{form}"']) == {"data": {"time_format": form}}


def test_other_values_that_are_no_yaml_are_refused():
    with pytest.raises(InputError, match="--set ranker"):
        given_options(None, ["ranker={a: %d"])
