"""Certificates: this host's own, other hosts', and those that are made for one migration (RFC 5280)."""

from __future__ import annotations

import datetime
import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wirt.model.errors import BadInput, CorruptState, Shortage
from wirt.model.peer import Certificate
from wirt.ports.migration import Credentials

HOST_DAYS = 3650
"""Nobody but those who pinned it trusts it, and they can take that back at any time."""
MIGRATION_DAYS = 2
"""A migration may take long, and hosts' clocks may differ."""
SKEW = datetime.timedelta(days=1)
MOST_BYTES = 64 * 1024
HINT = "wirt peer certificate, on the other host, prints its own"
_LONGEST_NAME = 64


def own(directory: Path, host: str) -> tuple[Certificate, Path, Path]:
    """This host's certificate, the file it is in, and its key's; made if they are not there. ``Shortage``,
    ``CorruptState``."""
    certificate, key = directory / "host.pem", directory / "host.key"
    try:
        if not certificate.exists():
            _make(directory, certificate, key, host)
        text = certificate.read_text()
    except OSError as error:
        raise Shortage(
            f"this host's certificate can't be kept in {directory}: {error.strerror}",
            hint="make room or get the right to it",
        ) from error
    try:
        return read(text), certificate, key
    except BadInput as error:
        raise CorruptState(
            f"{certificate}: {error.message}",
            hint=f"remove {certificate} and {key}; a new one is made, and other hosts must be told of it",
        ) from error


def read(text: str) -> Certificate:
    """``BadInput`` unless ``text`` holds one certificate, and nothing that is secret."""
    if len(text) > MOST_BYTES or "PRIVATE KEY" in text:
        raise BadInput("this is no certificate alone", hint=HINT)
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput(
            "this is no certificate", hint="wirt peer certificate, on the other host, prints its own"
        ) from error
    if len(found) != 1:
        raise BadInput(f"there are {len(found)} certificates in this", hint="a host has one")
    names = found[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        pem=found[0].public_bytes(Encoding.PEM).decode(),
        name=str(names[0].value) if names else "",
        fingerprint=_with_colons(found[0].fingerprint(hashes.SHA256())),
        not_before=found[0].not_valid_before_utc.timestamp(),
        not_after=found[0].not_valid_after_utc.timestamp(),
    )


def fingerprint(der: bytes) -> str:
    """As :attr:`~wirt.model.peer.Certificate.fingerprint`."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return _with_colons(digest.finalize())


def for_one_migration() -> tuple[Credentials, Credentials]:
    """The receiving side's and the sending side's. The authority's key is gone when this returns."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"wirt migration {secrets.token_hex(8)}")
    limits = x509.BasicConstraints(ca=True, path_length=0)
    authority = _signed(_builder(subject, subject, key, MIGRATION_DAYS).add_extension(limits, critical=True), key)
    name = f"{secrets.token_hex(16)}.migration.invalid"
    server = _leaf(name, ExtendedKeyUsageOID.SERVER_AUTH, subject, key)
    client = _leaf("sender.migration.invalid", ExtendedKeyUsageOID.CLIENT_AUTH, subject, key)
    sides = [Credentials(_pem(authority), certificate, secret, name) for certificate, secret in (server, client)]
    return sides[0], sides[1]


def _leaf(
    name: str, usage: x509.ObjectIdentifier, issuer: x509.Name, authority: ec.EllipticCurvePrivateKey
) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_subject(name), issuer, key, MIGRATION_DAYS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    return _pem(_signed(builder, authority)), _secret(key)


def _make(directory: Path, certificate: Path, key: Path, host: str) -> None:
    """The certificate comes last and at once: where it is, the key is too."""
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(host[:_LONGEST_NAME] or "host")
    builder = _builder(subject, subject, secret, HOST_DAYS).add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(key, _secret(secret))
    _write(certificate, _pem(_signed(builder, secret)))


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(f"{path.suffix}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _secret(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _with_colons(digest: bytes) -> str:
    return digest.hex(":").upper()
