"""Certificates and stores for the tests, made by openssl and keytool as people make them."""

import pathlib
import subprocess

PASSWORD = "changeit"


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}{done.stdout.decode()}"
    return done.stdout


class Authority:
    """Who signs certificates, in a folder of its own."""

    def __init__(self, folder, name="ca"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pem, self.key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        run("openssl", "req", "-x509", *EC_KEY, "-keyout", self.key, "-out", self.pem, "-days", "10", "-subj", f"/CN={name}")

    def sign(self, name, subject=None, days=10):
        """A certificate for this machine: `NAME.pem` and `NAME.key`. Without days it has expired."""
        request, extensions = self.folder / f"{name}.csr", self.folder / "extensions.cnf"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        pem, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        run(
            "openssl", "req", *EC_KEY, "-utf8", "-multivalue-rdn",
            "-keyout", key, "-out", request, "-subj", subject or f"/O=Acme/CN={name}",
        )
        if days > 0:
            run(
                "openssl", "x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key,
                "-extfile", extensions, "-days", days, "-out", pem,
            )  # fmt: skip
        else:
            self._sign_expired(request, extensions, pem)
        return Pair(pem, key)

    def _sign_expired(self, request, extensions, pem):
        """What was valid years ago: only `openssl ca` can choose when a certificate begins."""
        configuration, index = self.folder / "ca.cnf", self.folder / "index.txt"
        index.write_text("")
        configuration.write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={index}\nnew_certs_dir={self.folder}\ndefault_md=sha256\n"
            "policy=any\nrand_serial=yes\n[any]\ncommonName=supplied\norganizationName=optional\n"
        )
        run(
            "openssl", "ca", "-batch", "-notext", "-config", configuration, "-in", request, "-cert", self.pem, "-keyfile", self.key,
            "-extfile", extensions, "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-out", pem,
        )  # fmt: skip


EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Pair:
    """A certificate and its key, two files of PEM."""

    def __init__(self, pem, key):
        self.pem, self.key = pem, key

    def key_store(self, kind):
        """The file of a key store: `JKS`, `PKCS12` or `PEM` with an encrypted key."""
        path = self.pem.with_suffix("." + {"JKS": "jks", "PKCS12": "p12", "PEM": "store.pem"}[kind])
        if path.exists():
            return path
        if kind == "PEM":
            # The one encryption that Java 17 can read in PEM.
            key = run(
                "openssl", "pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-in", self.key, "-passout", f"pass:{PASSWORD}",
            )  # fmt: skip
            path.write_bytes(self.pem.read_bytes() + key)
            return path
        pkcs12 = self.pem.with_suffix(".p12")
        if not pkcs12.exists():
            run(
                "openssl", "pkcs12", "-export", "-in", self.pem, "-inkey", self.key, "-name", "mine",
                "-out", pkcs12, "-passout", f"pass:{PASSWORD}",
            )  # fmt: skip
        if kind == "JKS":
            run(
                "keytool", "-importkeystore", "-noprompt", "-srckeystore", pkcs12, "-srcstoretype", "PKCS12",
                "-srcstorepass", PASSWORD, "-destkeystore", path, "-deststoretype", "JKS", "-deststorepass", PASSWORD,
            )  # fmt: skip
        return path


def trust_store(authority, kind):
    """The file of a trust store with this authority."""
    if kind == "PEM":
        return authority.pem
    path = authority.pem.with_name("trust." + {"JKS": "jks", "PKCS12": "p12"}[kind])
    if not path.exists():
        run(
            "keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", authority.pem,
            "-keystore", path, "-storetype", kind, "-storepass", PASSWORD,
        )  # fmt: skip
    return path
