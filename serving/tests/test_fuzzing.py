"""A fixed share of `make fuzz-server`: no server error, crash or hang of the real server."""

import pytest

from serving.tests.fuzzing import fuzz


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hostile_inputs_get_no_server_error(predictor):
    found = fuzz(predictor, 120, 1)
    assert [(one.kind, one.errors, one.hangs) for one in found] == [(one.kind, [], []) for one in found]
    for one in found:
        # Neither all are refused nor all are fine.
        assert one.inputs > 20 and len(one.answers) > 1, one
        assert one.answers["200"] or one.answers["OK"]
    assert predictor.process.poll() is None
