"""Tokens verified with keys of a file, without a network: kinds of keys, rotation, sets that hold odd keys."""

import asyncio
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from components.shared.tests.waiting import eventually
from serving.access.config import Issuer
from serving.access.tokens import InvalidToken, TokenVerifier

KEYS = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "PS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def _jwk(algorithm, **more):
    kind = jwt.get_algorithm_by_name(algorithm)
    return {**json.loads(kind.to_jwk(KEYS[algorithm].public_key())), "kid": algorithm, **more}


def _token(algorithm, key_id=None, **claims):
    whole = {"iss": "shop", "aud": "a", "sub": "svc", "exp": int(time.time()) + 100, "scope": "ask", **claims}
    return jwt.encode(whole, KEYS[algorithm], algorithm, headers={"kid": algorithm if key_id is None else key_id})


@pytest.fixture
def verify(tmp_path):
    """(a function that verifies a token in one event loop, the file of keys)."""
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [_jwk(one) for one in KEYS]}))
    verifiers = {}
    with asyncio.Runner() as runner:

        def run(token, **options):
            key = json.dumps(options)
            if key not in verifiers:
                given = {"issuer": "shop", "audience": "a", "jwks_file": str(path), "algorithms": list(KEYS),
                         "scopes": ["ask", "explain"], "refetch_s": 1, **options}  # fmt: skip
                verifiers[key] = TokenVerifier([Issuer.read(given, "")])
            _, client, scopes = runner.run(verifiers[key].verify(token))
            return client, set(scopes)

        yield run, path


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_listed_kind_of_key_verifies(verify, algorithm):
    run, _ = verify
    assert run(_token(algorithm)) == ("svc", {"ask"})


def test_a_key_verifies_only_its_own_algorithm(verify):
    run, path = verify
    path.write_text(json.dumps({"keys": [_jwk("RS256", alg="RS256")]}))
    assert run(_token("RS256")) == ("svc", {"ask"})
    other = jwt.encode({"iss": "shop", "aud": "a", "sub": "s", "exp": time.time() + 9}, KEYS["RS256"], "PS256",
                       headers={"kid": "RS256"})  # fmt: skip
    with pytest.raises(InvalidToken, match="no such key"):
        run(other)


def test_claims_and_prefixes_are_those_of_the_file(verify):
    run, _ = verify
    token = _token("RS256", azp="web", roles=["shoprank:explain", "ask", "shoprank:admin"])
    found = run(token, client_claim="azp", scope_claim="roles", scope_prefix="shoprank:")
    assert found == ("web", {"explain"})
    assert run(_token("RS256", scope=5)) == ("svc", set())


@pytest.mark.parametrize("client", ["", 5, None, "a\nb", "x" * 1_000])
def test_a_client_without_a_name_is_refused(verify, client):
    run, _ = verify
    claims = {"iss": "shop", "aud": "a", "azp": client, "exp": time.time() + 9}
    with pytest.raises(InvalidToken, match="names no client"):
        run(jwt.encode(claims, KEYS["RS256"], "RS256", headers={"kid": "RS256"}), client_claim="azp")


def test_withdrawn_keys_are_forgotten_after_a_refresh(verify):
    run, path = verify
    assert run(_token("RS256"), refresh_s=1) == ("svc", {"ask"})
    path.write_text(json.dumps({"keys": [_jwk("ES256")]}))

    def refused():
        try:
            run(_token("RS256"), refresh_s=1)
        except InvalidToken:
            return True
        return False

    assert eventually(refused)
    assert run(_token("ES256"), refresh_s=1) == ("svc", {"ask"})


def test_odd_entries_of_a_set_hide_no_good_one_and_secrets_verify_nothing(verify):
    run, path = verify
    odd = [5, {}, {"kty": "RSA"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}, {"kty": "EC", "crv": "?"},
           _jwk("ES256", use="enc"), _jwk("PS256", d="AAAA")]  # fmt: skip
    path.write_text(json.dumps({"keys": [*odd, _jwk("RS256")]}))
    assert run(_token("RS256")) == ("svc", {"ask"})
    for algorithm in ("ES256", "PS256"):
        with pytest.raises(InvalidToken, match="no such key"):
            run(_token(algorithm))


def test_a_token_without_a_key_id_needs_a_single_key(verify):
    run, path = verify
    header = {"iss": "shop", "aud": "a", "sub": "svc", "exp": time.time() + 100, "scope": "ask"}
    token = jwt.encode(header, KEYS["RS256"], "RS256")
    with pytest.raises(InvalidToken, match="no such key"):
        run(token)
    path.write_text(json.dumps({"keys": [_jwk("RS256")]}))
    assert run(token, leeway_s=1) == ("svc", {"ask"})


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": 5}', "[" * 100_000])
def test_a_broken_file_leaves_the_keys_before_in_force(verify, content):
    run, path = verify
    assert run(_token("RS256")) == ("svc", {"ask"})
    path.write_text(content)
    time.sleep(1.1)  # longer than refetch_s
    with pytest.raises(InvalidToken):
        run(_token("RS256", key_id="unknown"))
    assert run(_token("RS256")) == ("svc", {"ask"})


@pytest.mark.parametrize("token", ["", "a", "a.b", "....", "x" * 9_000, "é.é.é", "e30.e30.e30", "bnVsbA.bnVsbA.bnVsbA"])
def test_what_is_no_token_is_refused(verify, token):
    run, _ = verify
    with pytest.raises(InvalidToken):
        run(token)
