"""A connection lost at any byte, once or for good: the registry stays consistent, and the next run goes on."""

import shutil

import pytest

from components.shared.errors import RegistryError
from components.shared.release.registry import Registry
from tests.cluster.registry.checks import check_consistent
from tests.cluster.registry.conftest import write_bundle
from tests.cluster.registry.cutting_proxy import CuttingProxy


def _whole_change(root, bundle):
    """What a run does at its end; returns whether it got through."""
    try:
        registry = Registry(root)
        version = registry.add(bundle)
        registry.set_alias("shop", "candidate", version)
        registry.promote("shop", version)
        registry.resolve("shop/champion")
    except RegistryError as error:
        assert "does not answer" in error.headline and "fix: check AWS_ENDPOINT_URL" in str(error)
        return False
    return True


# A date header that ends early.
@pytest.mark.filterwarnings("ignore:tzname .* identified but not understood")
@pytest.mark.slow
@pytest.mark.parametrize("once", [True, False], ids=["one cut", "no way through"])
def test_connection_lost_at_any_byte_leaves_a_consistent_registry(s3_server, bucket, tmp_path, monkeypatch, once):
    bundles = [write_bundle(tmp_path / f"b{number}", f"text {number}", files=1) for number in range(2)]

    def through(after, root):
        with CuttingProxy(s3_server.port, after, once) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.environment(proxy.port)["AWS_ENDPOINT_URL"])
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
            got_through = _whole_change(root, bundles[1])
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.environment()["AWS_ENDPOINT_URL"])
        return got_through, proxy

    if not once:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    whole = f"s3://{bucket}/whole"
    assert _whole_change(whole, bundles[0])
    done, proxy = through(None, whole)
    assert done
    for number, after in enumerate(range(1, proxy.passed + 600, 3181 if once else 1699)):
        root = f"s3://{bucket}/at-{number}"
        assert _whole_change(root, bundles[0])
        got_through, cut = through(after, root)
        assert got_through or not once or cut.cuts == 0, f"cut after {after} bytes"
        registry = Registry(root)
        check_consistent(registry, tmp_path)
        # The next run puts right what is missing, and the log has each change once.
        assert _whole_change(root, bundles[1])
        check_consistent(registry, tmp_path)
        actions = [entry["action"] for entry in registry.audit("shop").entries()]
        assert actions == ["add", "candidate", "promote"] * 2, f"cut after {after} bytes"
