"""Certificates as real servers have them: a root authority, one below it, and one of that for the server.

A server shows `NAME`: "good" for this machine (localhost, 127.0.0.1) and for agent.test, the far end of a test's network cable;
"wrong_host" for another; "expired" since yesterday; "unknown_issuer", by an authority that nobody knows. Who is to believe
them trusts `authority()` alone.
"""

import atexit
import datetime
import functools
import ssl
import subprocess
import tempfile
from pathlib import Path

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
SERVER = "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\n"
ISSUED = "authorityKeyIdentifier=keyid:always\n"
HERE, ELSEWHERE = "DNS:localhost,DNS:agent.test,IP:127.0.0.1", "DNS:voice.example"
BOOKS = """
[ca]
default_ca = books
[books]
database = index.txt
new_certs_dir = .
default_md = sha256
rand_serial = yes
unique_subject = no
policy = names
[names]
commonName = supplied
[req]
distinguished_name = subject
[subject]
"""


def authority() -> Path:
    """The certificate of the root, as PEM."""
    return _folder() / "root.pem"


def chain(name: str) -> tuple[Path, Path]:
    """What a server shows, its own certificate first, and its private key, as PEM."""
    return _folder() / f"{name}.pem", _folder() / f"{name}.key"


def server_context(name: str = "good") -> ssl.SSLContext:
    """The TLS of a server that shows this certificate; over ALPN it has HTTP/2 too, and prefers it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*chain(name))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@functools.cache
def _folder() -> Path:
    made = tempfile.TemporaryDirectory()
    atexit.register(made.cleanup)
    folder = Path(made.name)
    (folder / "books.cnf").write_text(BOOKS)
    (folder / "index.txt").touch()
    for root in ("root", "stranger"):
        _root(folder, root)
    _issue(folder, "intermediate", "root", AUTHORITY)
    _issue(folder, "good", "intermediate", SERVER + f"subjectAltName={HERE}\n")
    _issue(folder, "wrong_host", "intermediate", SERVER + f"subjectAltName={ELSEWHERE}\n")
    _issue(folder, "expired", "intermediate", SERVER + f"subjectAltName={HERE}\n", ends_in_days=-1)
    _issue(folder, "unknown_issuer", "stranger", SERVER + f"subjectAltName={HERE}\n")
    for name in ("good", "wrong_host", "expired"):
        with (folder / f"{name}.pem").open("a") as shown:
            shown.write((folder / "intermediate.pem").read_text())
    return folder


def _root(folder: Path, name: str) -> None:
    extensions = (part for line in AUTHORITY.splitlines() for part in ("-addext", line))
    subject = ("-config", "books.cnf", "-subj", f"/CN={name}", "-days", "2")
    _openssl(folder, "req", "-x509", *CURVE, *subject, *extensions, "-keyout", f"{name}.key", "-out", f"{name}.pem")


def _issue(folder: Path, name: str, issuer: str, extensions: str, ends_in_days: int = 2) -> None:
    (folder / f"{name}.ext").write_text(extensions + ISSUED)
    subject = ("-config", "books.cnf", "-subj", f"/CN={name}")
    _openssl(folder, "req", *CURVE, *subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
    # `ca`, not `x509`: only it takes an end in the past with every version of OpenSSL.
    signed = (
        "-in",
        f"{name}.csr",
        "-out",
        f"{name}.pem",
        "-extfile",
        f"{name}.ext",
        "-notext",
        "-batch",
        "-rand_serial",
    )
    dates = ("-startdate", _day(-2), "-enddate", _day(ends_in_days))
    by = ("-cert", f"{issuer}.pem", "-keyfile", f"{issuer}.key")
    _openssl(folder, "ca", "-config", "books.cnf", *by, *signed, *dates)


def _day(days: int) -> str:
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days)
    return when.strftime("%Y%m%d%H%M%SZ")


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
