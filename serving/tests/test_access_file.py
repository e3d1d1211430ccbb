"""The access file and its limits: mistakes are named without the key that was pasted by mistake; rates and quotas."""

import json

import pytest
import yaml

from components.shared.access_keys import is_key, key_hash, new_key
from components.shared.errors import InputError
from serving.access.config import Limits, read_access
from serving.access.paths import OTHER, need_of, shown
from serving.access.rates import ClientLimits, Exceeded
from serving.tests.access_files import client, write_access

ISSUER = {"issuer": "https://id.example", "audience": "a", "jwks_url": "https://id.example/jwks", "scopes": ["ask"]}


def test_keys_are_random_recognised_and_kept_as_hashes():
    first, second = new_key(), new_key()
    assert first != second and is_key(first) and not is_key(first[:-1]) and not is_key(key_hash(first))
    assert key_hash(first) == key_hash(first) != key_hash(second)


def _file(tmp_path, content):
    path = tmp_path / "access.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _with_client(**changes):
    return {"clients": [{**client("web", ["ask"])[1], **changes}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("clients: [", "access.yaml is neither YAML nor JSON"),
        ("- a", "access.yaml has no fields"),
        ({}, "neither clients nor issuers are given"),
        (_with_client(scopes=["read"]), "clients[0].scopes[0] is 'read'"),
        (_with_client(scopes=[]), "clients[0].scopes is []"),
        (_with_client(name="a\nb"), "clients[0].name is"),
        (_with_client(limit={}), "clients[0].limit is not an option"),
        (_with_client(limits={"per_second": 0}), "clients[0].limits.per_second is 0"),
        (_with_client(limits={"burst": 3}), "burst without per_second"),
        (_with_client(expires="tomorrow"), "'tomorrow' is no day"),
        ({"clients": [client("a", ["ask"])[1], client("a", ["ask"])[1]]}, "client 'a' is given twice"),
        ({"issuers": [{**ISSUER, "algorithms": ["HS256"]}]}, "issuers[0].algorithms[0] is 'HS256'"),
        ({"issuers": [{**ISSUER, "algorithms": ["none"]}]}, "issuers[0].algorithms[0] is 'none'"),
        ({"issuers": [{**ISSUER, "jwks_url": "http://id.example/jwks"}]}, "jwks_url is 'http://id.example/jwks'"),
        ({"issuers": [{**ISSUER, "jwks_file": "keys"}]}, "give one of jwks_url and jwks_file"),
        ({"issuers": [ISSUER, ISSUER]}, "issuer 'https://id.example' is given twice"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_a_fix(tmp_path, content, message):
    with pytest.raises(InputError) as refusal:
        read_access(_file(tmp_path, content))
    assert message in refusal.value.headline and refusal.value.fix


@pytest.mark.parametrize("content", ["clients: [{name: web, scopes: [ask], keys: ['KEY']}]", "clients: [KEY: [",
                                     "clients: [{name: web, scopes: [ask], keys: KEY}]"],
                         ids=["in place of a hash", "broken", "no list"])  # fmt: skip
def test_a_key_that_was_pasted_is_not_repeated(tmp_path, content):
    key = new_key()
    with pytest.raises(InputError) as refusal:
        read_access(_file(tmp_path, content.replace("KEY", key)))
    assert key not in str(refusal.value) and key[10:30] not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_access(tmp_path / "none.yaml")


def test_a_bucket_fills_with_time_and_refused_requests_cost_nothing():
    now = [1_000_000.0]
    used, limits = ClientLimits(lambda: now[0]), Limits(per_second=2.0, burst=3)
    assert [used.take("a", limits) for _ in range(3)] == [None] * 3
    assert used.take("a", limits) == Exceeded("rate", 1) and used.take("b", limits) is None
    now[0] += 0.5
    assert used.take("a", limits) is None and used.take("a", limits) is not None
    now[0] += 1_000
    assert [used.take("a", limits) for _ in range(4)].count(None) == 3
    # A clock that is set back gives nothing and takes nothing.
    now[0] -= 500
    assert used.take("a", limits) == Exceeded("rate", 1)


def test_a_quota_is_of_a_day_of_utc():
    now = [86_400.0 * 20_000 + 86_000]
    used, limits = ClientLimits(lambda: now[0]), Limits(per_day=2)
    assert [used.take("a", limits) for _ in range(3)] == [None, None, Exceeded("quota", 400)]
    now[0] += 400
    assert used.take("a", limits) is None


def test_paths_are_shown_without_what_a_client_puts_into_them():
    assert shown("/v1/models/alice:predict?key=secret") == "/v1/models/{name}:predict"
    assert shown("/shoppers/alice?x=1") == OTHER
    assert need_of("HEAD", "/v2/health/live") == ("open", "/v2/health/live")
    assert need_of("POST", "/v2/repository/models/a/load\n")[0] == "admin"
    assert need_of("DELETE", "/v1/events")[0] == "admin"


def test_the_file_of_the_command_is_read(tmp_path, capsys):
    from pipelines.cli.access import access_key

    access_key("web shop", "ask, explain", per_second=2.5, per_day=1000)
    printed = capsys.readouterr().out
    key = next(word for word in printed.split() if is_key(word))
    (found,) = read_access(_file(tmp_path, "clients:\n" + printed)).clients
    assert found.name == "web shop" and found.keys == [key_hash(key)] and found.scopes == ["ask", "explain"]
    assert found.limits == Limits(per_second=2.5, per_day=1000)
    assert yaml.safe_load("clients:\n" + printed)["clients"][0]["name"] == "web shop"


@pytest.mark.parametrize(("name", "scopes"), [("web", "read"), ("web", ""), ("a\nb", "ask"), ("", "ask")])
def test_the_command_refuses_what_the_file_would(name, scopes):
    from pipelines.cli.access import access_key

    with pytest.raises(InputError):
        access_key(name, scopes)


def test_written_files_are_read_back(tmp_path):
    key, entry = client("web", ["ask"], expires="2999-12-31")
    found = read_access(write_access(tmp_path / "access.json", [entry], [ISSUER], metrics_scope="admin"))
    assert found.clients[0].keys == [key_hash(key)] and found.clients[0].expires_at() > 3e10
    assert found.issuers[0].algorithms == ["RS256"] and found.metrics_scope == "admin"
