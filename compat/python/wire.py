"""The Kafka protocol as plain dictionaries: every request as bytes, every answer decoded field by field.

Driven by the message schemas that kafka-python ships (Kafka 4.1's own JSON), not by its client code, so
that a version, a null or an absent field is exactly what a test says. Field names are the schemas' own.
"""

import functools
import importlib.resources
import json
import re
import socket
import struct
import time
import uuid

NUMBERS = {"int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}
ZERO_ID = uuid.UUID(int=0)
# The timestamp of the first record of a test, in ms: an hour ago, since retention takes what is older than a week.
START = (int(time.time()) - 3600) * 1000


@functools.cache
def schema(name):
    """The schema of a message, e.g. `MetadataRequest`."""
    text = (importlib.resources.files("kafka.protocol.schemas") / "resources" / f"{name}.json").read_text()
    return json.loads(re.sub(r"^\s*//.*$", "", re.sub(r"\s//[^\"\n]*$", "", text, flags=re.M), flags=re.M))


def _includes(versions, version):
    """Whether `version` is in a range such as `3+`, `0-4`, `2` or `none`."""
    if not versions or versions == "none":
        return False
    low, _, high = versions.replace("+", "-").partition("-")
    if "-" not in versions and "+" not in versions:
        high = low
    return int(low) <= version and (not high or version <= int(high))


def is_flexible(name, version):
    return _includes(schema(name).get("flexibleVersions", "none"), version)


def _varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


class _Coder:
    """What encoder and decoder know of one message in one version."""

    def __init__(self, name, version):
        message = schema(name)
        self.version = version
        self.flexible = is_flexible(name, version)
        self.fields = message["fields"]
        self.common = {struct_["name"]: struct_["fields"] for struct_ in message.get("commonStructs", ())}

    def struct_fields(self, field, kind):
        return field.get("fields") or self.common[kind]

    def plain(self, fields):
        return [f for f in fields if _includes(f["versions"], self.version) and not self.tagged_field(f)]

    def tagged(self, fields):
        return [f for f in fields if _includes(f["versions"], self.version) and self.tagged_field(f)]

    def tagged_field(self, field):
        return self.flexible and "tag" in field and _includes(field["taggedVersions"], self.version)

    def nullable(self, field):
        return _includes(field.get("nullableVersions"), self.version)


class _Encoder(_Coder):
    def length(self, value, width=">i"):
        """A length or a count; None is null."""
        if self.flexible:
            return _varint(0 if value is None else value + 1)
        return struct.pack(width, -1 if value is None else value)

    def structure(self, fields, values):
        known = {f["name"] for f in fields}
        assert set(values) <= known, f"unknown fields {set(values) - known}"
        out = b"".join(self.field(f, values.get(f["name"], self.default(f))) for f in self.plain(fields))
        if self.flexible:
            tagged = [f for f in self.tagged(fields) if f["name"] in values]
            out += _varint(len(tagged))
            for field in sorted(tagged, key=lambda f: f["tag"]):
                body = self.field(field, values[field["name"]])
                out += _varint(field["tag"]) + _varint(len(body)) + body
        return out

    def default(self, field):
        kind, default = field["type"], field.get("default")
        if default == "null":
            return None
        if kind.startswith("[]"):
            return []
        if kind in NUMBERS:
            return int(str(default), 0) if default is not None else 0
        return {"bool": default in (True, "true"), "string": default or "", "uuid": ZERO_ID}.get(kind, b"" if kind in ("bytes", "records") else {})

    def field(self, field, value):
        return self.value(field, field["type"], value)

    def value(self, field, kind, value):
        if kind.startswith("[]"):
            if value is None:
                return self.length(None)
            return self.length(len(value)) + b"".join(self.value(field, kind[2:], item) for item in value)
        if kind in NUMBERS:
            return struct.pack(NUMBERS[kind], value)
        if kind == "bool":
            return bytes([bool(value)])
        if kind == "uuid":
            return value.bytes
        if kind == "string":
            raw = None if value is None else value.encode()
            return self.length(None if raw is None else len(raw), ">h") + (raw or b"")
        if kind in ("bytes", "records"):
            return self.length(None if value is None else len(value)) + (value or b"")
        if self.nullable(field) and not field["type"].startswith("[]"):
            return b"\xff" if value is None else b"\x01" + self.structure(self.struct_fields(field, kind), value)
        return self.structure(self.struct_fields(field, kind), value)


class _Decoder(_Coder):
    def __init__(self, name, version, data):
        super().__init__(name, version)
        self.data, self.at = data, 0

    def take(self, count):
        assert 0 <= count <= len(self.data) - self.at, f"{count} bytes wanted at {self.at} of {len(self.data)}"
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def length(self, width=">i"):
        if self.flexible:
            return self.varint() - 1
        return struct.unpack(width, self.take(struct.calcsize(width)))[0]

    def structure(self, fields):
        values = {f["name"]: self.value(f, f["type"]) for f in self.plain(fields)}
        if self.flexible:
            tagged = {f["tag"]: f for f in self.tagged(fields)}
            for _ in range(self.varint()):
                tag, length = self.varint(), self.varint()
                end = self.at + length
                if tag in tagged:
                    values[tagged[tag]["name"]] = self.value(tagged[tag], tagged[tag]["type"])
                else:
                    values[f"tag {tag}"] = self.take(length)
                assert self.at == end, f"tag {tag} is {length} bytes, {self.at - end} more were read"
        return values

    def value(self, field, kind):
        if kind.startswith("[]"):
            count = self.length()
            return None if count < 0 else [self.value(field, kind[2:]) for _ in range(count)]
        if kind in NUMBERS:
            return struct.unpack(NUMBERS[kind], self.take(struct.calcsize(NUMBERS[kind])))[0]
        if kind == "bool":
            return self.take(1) != b"\0"
        if kind == "uuid":
            return uuid.UUID(bytes=self.take(16))
        if kind == "string":
            count = self.length(">h")
            return None if count < 0 else self.take(count).decode()
        if kind in ("bytes", "records"):
            count = self.length()
            return None if count < 0 else self.take(count)
        if self.nullable(field) and not field["type"].startswith("[]") and self.take(1) == b"\xff":
            return None
        return self.structure(self.struct_fields(field, kind))


def encode(name, version, values):
    encoder = _Encoder(name, version)
    return encoder.structure(encoder.fields, values)


def decode(name, version, data):
    """The message as a dictionary; every byte must belong to it."""
    decoder = _Decoder(name, version, data)
    values = decoder.structure(decoder.fields)
    assert decoder.at == len(data), f"{name} v{version}: {len(data) - decoder.at} bytes too many"
    return values


class Connection:
    """One connection to a broker, one request at a time."""

    def __init__(self, bootstrap, timeout=30, tls=None):
        host, port = bootstrap.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=host)
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def receive(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise ConnectionError("closed by the server")
            data += chunk
        return data

    def receive_frame(self):
        return self.receive(struct.unpack(">i", self.receive(4))[0])

    def send(self, api, version, values):
        self.correlation += 1
        client = b"compat"
        header = struct.pack(">hhih", schema(f"{api}Request")["apiKey"], version, self.correlation, len(client)) + client
        if is_flexible(f"{api}Request", version):
            header += b"\0"
        body = header + encode(f"{api}Request", version, values)
        self.socket.sendall(struct.pack(">i", len(body)) + body)

    def ask(self, api, version, values=None):
        """Sends a request and returns the answer; both as dictionaries."""
        self.send(api, version, values or {})
        frame = self.receive_frame()
        assert struct.unpack(">i", frame[:4])[0] == self.correlation
        # ApiVersions alone always answers with the old header.
        flexible = is_flexible(f"{api}Response", version) and api != "ApiVersions"
        if flexible:
            assert frame[4] == 0, "no tagged field is known in a response header"
        return decode(f"{api}Response", version, frame[5 if flexible else 4 :])


def ask(bootstrap, api, version, values=None):
    with Connection(bootstrap) as connection:
        return connection.ask(api, version, values)


def record_batch(values, base_timestamp=START, producer_id=-1, producer_epoch=-1, base_sequence=-1, magic=2, attributes=0):
    """An uncompressed batch of records without keys; for requests that a client library would not send."""

    def signed(value):
        return _varint((value << 1) ^ (value >> 63))

    records = b""
    for delta, value in enumerate(values):
        body = b"\0" + signed(0) + signed(delta) + signed(-1) + signed(len(value)) + value + signed(0)
        records += signed(len(body)) + body
    tail = struct.pack(">hiqqqhii", attributes, len(values) - 1, base_timestamp, base_timestamp, producer_id, producer_epoch, base_sequence, len(values)) + records
    return struct.pack(">qiib", 0, 4 + 1 + 4 + len(tail), -1, magic) + struct.pack(">I", crc32c(tail)) + tail


@functools.cache
def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def crc32c(data):
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def stored_batches(log_dir, topic, partition=0):
    """The header fields of each batch in a partition's segment files, and the CRC checked."""
    batches = []
    for file in sorted((log_dir / f"{topic}-{partition}").glob("*.log")):
        data, at = file.read_bytes(), 0
        while at + 61 <= len(data):
            offset, length, epoch, magic, crc, attributes, last_delta = struct.unpack_from(">qiibIhi", data, at)
            if length <= 0:
                break
            tail = data[at + 21 : at + 12 + length]
            assert crc32c(tail) == crc, f"{file.name}: wrong CRC at {at}"
            first, most, producer_id, producer_epoch, sequence, count = struct.unpack_from(">qqqhii", tail, 6)
            batches.append({
                "offset": offset, "leader_epoch": epoch, "magic": magic, "codec": attributes & 7,
                "log_append_time": bool(attributes & 8), "count": count, "last_delta": last_delta,
                "producer_id": producer_id, "producer_epoch": producer_epoch, "sequence": sequence,
                "first_timestamp": first, "max_timestamp": most,
            })  # fmt: skip
            at += 12 + length
    return batches


CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
