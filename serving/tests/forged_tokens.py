"""Tokens that nobody may accept."""

import base64
import hashlib
import hmac
import json
import time

import jwt
from cryptography.hazmat.primitives import serialization


def forged(issuer, kind):
    """A token that must not be accepted."""
    now, public = int(time.time()), issuer.keys["first"].public_key()
    good = issuer.token("first")
    header, payload, signature = good.split(".")
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    match kind:
        case "expired":
            return issuer.token("first", exp=now - 100)
        case "not yet":
            return issuer.token("first", nbf=now + 1000)
        case "no end":
            return issuer.token("first", exp=None)
        case "other audience":
            return issuer.token("first", aud="another")
        case "other issuer":
            return issuer.token("first", iss="https://evil.example")
        case "no client":
            return issuer.token("first", sub=None)
        case "none":
            return jwt.encode(
                {"iss": issuer.url, "aud": "shoprank-predictor", "exp": now + 100, "sub": "a"}, None, "none"
            )
        case "public key as secret":
            # PyJWT itself refuses to sign so; an attacker would not.
            def coded(content):
                return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

            start = f"{coded(json.dumps({'alg': 'HS256', 'kid': 'first'}).encode())}.{payload}"
            return f"{start}.{coded(hmac.new(pem, start.encode(), hashlib.sha256).digest())}"
        case "algorithm that is not listed":
            return issuer.token("first", algorithm="RS512")
        case "changed payload":
            changed = jwt.utils.base64url_encode(
                json.dumps({**jwt.decode(good, options={"verify_signature": False}), "scope": "ask explain"}).encode()
            )
            return f"{header}.{changed.decode()}.{signature}"
        case "garbage":
            return "a.b.c"
    raise AssertionError(kind)
