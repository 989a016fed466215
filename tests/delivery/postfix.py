"""A Postfix of a test's own: its own folder, free ports of the loopback, certificates made for it, nothing of /etc.

It takes mail for `example.com` (the mailboxes of `MAILBOXES`; anybody else is unknown), keeps it as maildirs, and sends
`later.example` on to another server. Each port answers with what one kind of next hop offers; see `Ports`.
"""

from __future__ import annotations

import base64
import os
import pwd
import re
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

MAILBOXES = ("zoe", "ben", "anna", "jörg")
USERNAME = "nurture"
PASSWORD = "correct horse"
PATIENCE_S = 20
"""How long a test waits for Postfix to do what it does within tens of milliseconds."""
_LONG_AGO, _FAR_OFF = datetime(2020, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
"""TLS looks at the clock of the machine, whatever the test's says."""
_OTHERS = "/usr/sbin:/usr/lib/postfix/sbin:/usr/libexec/postfix"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """`starttls` and `tls` have a certificate for 127.0.0.1; `elsewhere` has one for another host; `clear` has none.

    `auth` lets in who logs in, after STARTTLS. `no_utf8` is `starttls` without SMTPUTF8, `strict`
    one that leaves with 421 at a session's second mistake.
    """

    starttls: int
    tls: int
    elsewhere: int
    clear: int
    auth: int
    no_utf8: int
    strict: int


@dataclass(frozen=True, kw_only=True)
class Postfix:
    """A running one. `authority` is the certificate that its own are signed with, as a PEM file."""

    folder: Path
    ports: Ports
    authority: Path

    def mail(self, name: str) -> list[bytes]:
        """The letters in a mailbox, with CRLF as they came over the wire, in order of arrival."""
        files = sorted((self.folder / "mail" / name / "new").glob("*"), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in files]

    def arrived(self, name: str, count: int = 1) -> list[bytes]:
        """As `mail`, once there are so many."""
        _wait(lambda: len(self.mail(name)) >= count, f"{count} letters for {name}")
        return self.mail(name)

    def sessions(self, port: str, count: int) -> list[str]:
        """What was counted of each session at this port, once there are so many: `ehlo=1 starttls=0/1 commands=1/2`."""
        told = re.compile(rf"postfix/{port}/smtpd\[\d+\]: disconnect from \S+ (.*)")
        _wait(lambda: len(told.findall(self._log())) >= count, f"{count} sessions at {port}")
        return told.findall(self._log())

    def _log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")


def skip_where_missing() -> None:
    """Skip where Postfix can't be started. NURTURE_REQUIRE_BROWSER=1 says that the packages of the tests are here."""
    missing = _program("postfix") is None or _program("master") is None
    if missing and os.environ.get("NURTURE_REQUIRE_BROWSER") == "1":
        pytest.fail("Postfix is not installed: apt-get install postfix")
    if missing:
        pytest.skip("Postfix is not installed: apt-get install postfix")
    if os.geteuid() != 0:
        pytest.skip("only root can start Postfix")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_OTHERS}")


@contextmanager
def running_postfix(*, onward_port: int) -> Iterator[Postfix]:
    """`onward_port`: the server on 127.0.0.1 that takes the mail for `later.example`."""
    # not below pytest's folder: nobody but its owner may enter that, and Postfix gives its rights away
    folder = Path(tempfile.mkdtemp(prefix="nurture-postfix-"))
    folder.chmod(0o755)
    ports = Ports(**dict(zip([field.name for field in fields(Ports)], _free_ports(len(fields(Ports))), strict=True)))
    authority = Authority(folder)
    authority.certify("here", "127.0.0.1")
    authority.certify("elsewhere", "mail.elsewhere.example")
    try:
        with logins(folder / "logins"):
            _write_config(folder, ports, onward_port)
            with _master(folder):
                yield Postfix(folder=folder, ports=ports, authority=authority.file)
    finally:
        shutil.rmtree(folder)


# --- certificates


class Authority:
    """Signs certificates for hosts, as an authority that only a test trusts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority for tests")])
        self.file = folder / "authority.pem"
        certificate = self._signed(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def certify(self, name: str, host: str) -> Path:
        """`name.pem`: the key, then the certificate for this host."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        named = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
        certificate = self._signed(subject, key.public_key(), x509.SubjectAlternativeName([named]))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file = self._folder / f"{name}.pem"
        file.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
        return file

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(_LONG_AGO).not_valid_after(_FAR_OFF)
        return builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())


# --- logins


_HELLO = f"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t{'0' * 32}\nDONE\n"


class _Logins(socketserver.StreamRequestHandler):
    """Answers Postfix as Dovecot does (its protocol 1.1 for clients): one user, PLAIN."""

    def handle(self) -> None:
        self.wfile.write(_HELLO.encode())
        for line in self.rfile:
            verb, *words = line.decode().rstrip("\n").split("\t")
            if verb == "AUTH":
                self.wfile.write(self._verdict(words).encode())

    def _verdict(self, words: list[str]) -> str:
        said = dict(word.partition("=")[::2] for word in words)
        _, username, password = base64.b64decode(said["resp"]).decode().split("\0")
        good = (username, password) == (USERNAME, PASSWORD)
        return f"OK\t{words[0]}\tuser={username}\n" if good else f"FAIL\t{words[0]}\tuser={username}\n"


@contextmanager
def logins(path: Path) -> Iterator[None]:
    """Whom Postfix asks whether a password is right."""
    with socketserver.ThreadingUnixStreamServer(str(path), _Logins) as server:
        server.daemon_threads = True
        path.chmod(0o666)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


# --- Postfix itself


def _write_config(folder: Path, ports: Ports, onward_port: int) -> None:
    nobody = pwd.getpwnam("nobody")
    master = _program("master")
    assert master is not None
    for name in ("config", "queue", "data", "mail"):
        (folder / name).mkdir()
    os.chown(folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
    os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
    (folder / "mailboxes").write_text("".join(f"{name}@example.com {name}/\n" for name in MAILBOXES), encoding="utf-8")
    (folder / "config" / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {Path(master).parent}
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = receiver.example
mydestination =
mynetworks = 127.0.0.0/8
smtputf8_enable = yes
alias_maps =
alias_database =
biff = no
smtpd_tls_chain_files = {folder}/here.pem
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/logins
smtpd_recipient_restrictions = reject_unauth_destination
virtual_mailbox_domains = example.com, acme.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{folder}/mailboxes
virtual_alias_maps = inline:{{ {{ anna@acme.example = anna@example.com }} }}
virtual_uid_maps = static:{nobody.pw_uid}
virtual_gid_maps = static:{nobody.pw_gid}
relay_domains = later.example
transport_maps = inline:{{ {{ later.example = smtp:[127.0.0.1]:{onward_port} }} }}
smtp_tls_security_level = none
""")
    (folder / "config" / "master.cf").write_text(
        _listener(ports.starttls, "starttls")
        + _listener(ports.tls, "tls", "smtpd_tls_wrappermode=yes")
        + _listener(ports.elsewhere, "elsewhere", f"smtpd_tls_chain_files={folder}/elsewhere.pem")
        + _listener(ports.clear, "clear", "smtpd_tls_security_level=none")
        + _listener(
            ports.auth,
            "auth",
            "smtpd_sasl_auth_enable=yes",
            "smtpd_recipient_restrictions=permit_sasl_authenticated,reject",
        )
        + _listener(ports.no_utf8, "no_utf8", "smtpd_discard_ehlo_keywords=smtputf8")
        + _listener(ports.strict, "strict", "smtpd_hard_error_limit=2", "smtpd_error_sleep_time=0")
        + """
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
error     unix - - n - - error
retry     unix - - n - - error
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""
    )


def _listener(port: int, name: str, *options: str) -> str:
    said = "".join(f" -o {option}" for option in (f"syslog_name=postfix/{name}", *options))
    return f"127.0.0.1:{port} inet n - n - - smtpd{said}\n"


@contextmanager
def _master(folder: Path) -> Iterator[None]:
    """Started by `postfix`, which makes the queue's folders; stopped by it, and by the signal it would send."""
    postfix = _program("postfix")
    assert postfix is not None
    command = [postfix, "-c", str(folder / "config")]
    begun = subprocess.run([*command, "start"], capture_output=True, text=True, timeout=60, check=False)
    if begun.returncode != 0:
        log = folder / "log"
        pytest.fail(f"Postfix does not start: {begun.stderr}{log.read_text() if log.exists() else ''}")
    try:
        yield
    finally:
        subprocess.run([*command, "stop"], capture_output=True, timeout=60, check=True)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def _wait(seen: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not seen():
        if time.monotonic() > end:
            pytest.fail(f"Postfix took longer than {PATIENCE_S} s for {what}")
        time.sleep(0.02)
