"""Raw connections that log in: PLAIN and SCRAM (RFC 5802), with a delegation token too, and again in mid-stream."""

import base64
import hashlib
import hmac
import os

import wire


class Refused(Exception):
    """The server's own words."""


def log_in(connection, mechanism, user, password, token=False):
    """Logs in, or in again; returns the session's lifetime in ms."""
    hello = connection.ask("SaslHandshake", 1, {"Mechanism": mechanism})
    if hello["ErrorCode"]:
        raise Refused(hello["ErrorCode"], tuple(hello["Mechanisms"]))

    def step(data):
        answer = connection.ask("SaslAuthenticate", 2, {"AuthBytes": data})
        if answer["ErrorCode"]:
            raise Refused(answer["ErrorCode"], answer["ErrorMessage"])
        return answer

    if mechanism == "PLAIN":
        return step(b"\0".join([b"", user.encode(), password.encode()]))["SessionLifetimeMs"]
    algorithm = mechanism.removeprefix("SCRAM-").replace("-", "").lower()
    nonce = base64.b64encode(os.urandom(18)).decode()
    first = f"n={user},r={nonce}" + (",tokenauth=true" if token else "")
    challenge = step(f"n,,{first}".encode())["AuthBytes"].decode()
    said = dict(part.split("=", 1) for part in challenge.split(","))
    salted = hashlib.pbkdf2_hmac(algorithm, password.encode(), base64.b64decode(said["s"]), int(said["i"]))
    final = f"c=biws,r={said['r']}"
    signed = ",".join([first, challenge, final]).encode()
    client_key = hmac.digest(salted, b"Client Key", algorithm)
    signature = hmac.digest(hashlib.new(algorithm, client_key).digest(), signed, algorithm)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True))).decode()
    return step(f"{final},p={proof}".encode())["SessionLifetimeMs"]


def logged_in(mechanism, user, password, tls=None, token=False):
    """A connection that has logged in, for the address that it is called with."""

    def connect(address):
        connection = wire.Connection(address, tls=tls)
        try:
            log_in(connection, mechanism, user, password, token)
        except BaseException:
            connection.socket.close()
            raise
        return connection

    return connect
