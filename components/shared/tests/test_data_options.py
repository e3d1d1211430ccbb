"""Options of the data: formats of times are those that DuckDB reads."""

import string

import duckdb
import pytest

from components.shared.errors import InputError
from components.shared.schema.data_options import DataOptions


def duckdb_reads(form: str) -> bool:
    """Whether DuckDB knows the letters of a format."""
    try:
        duckdb.execute("SELECT try_strptime('x', ?)", [form])
    except duckdb.InvalidInputException:
        return False
    return True


def is_accepted(form: str) -> bool:
    """Whether DataOptions takes a format."""
    try:
        return DataOptions.read({"time_format": form}, "data").time_format == form
    except InputError as error:
        assert "data.time_format" in error.headline and repr(form) in error.headline
        return False


@pytest.mark.parametrize("mark", ["%", "%-"])
def test_letters_of_a_format_are_those_of_duckdb(mark):
    letters = string.ascii_letters + string.digits + string.punctuation + " "
    forms = [mark + letter for letter in letters]
    assert [form for form in forms if is_accepted(form)] == [form for form in forms if duckdb_reads(form)]


@pytest.mark.parametrize("form", ["%Y-%m-%d %", "%%Q %Y", "%%%Q", "%-%d", "%Y%%", "%d/%m/%Y %H:%M", "%Y年%m月%d日"])
def test_a_format_is_accepted_as_duckdb_accepts_it(form):
    assert is_accepted(form) == duckdb_reads(form)


@pytest.mark.parametrize(("form", "unknown"), [("%Q", "'%Q'"), ("%d %-Q", "'%-Q'"), ("%d %", "'%'")])
def test_an_unknown_letter_is_named(form, unknown):
    with pytest.raises(InputError) as refusal:
        DataOptions.read({"time_format": form}, "data")
    assert unknown in refusal.value.headline and "Y" in refusal.value.fix
