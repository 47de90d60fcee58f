"""The certificate of the management API's https port: made once, for this machine alone."""

import ipaddress
import os
import ssl
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from notifications.errors import ConfigurationError

CERTIFICATE, KEY = "door-cert.pem", "door-key.pem"
"""In the data folder. Clients are told to trust the first one; the second is for its owner."""

_DAYS = 825
"""How long it is good for: clients take none that lasts longer."""

_RENEWED_BEFORE = timedelta(days=30)


def tls_context(folder: Path, now: datetime) -> ssl.SSLContext:
    """The server side of TLS, by the certificate in a folder, made there where there is none.

    Raises:
        ConfigurationError: The folder cannot be written to, or what is there cannot be read.
    """
    certificate, key = folder / CERTIFICATE, folder / KEY
    try:
        if not _good(certificate, key, now):
            _make(certificate, key, now)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"the door's certificate {certificate} cannot be used ({error}): delete it together"
            f" with {KEY}, and it is made anew"
        ) from error
    return context


def _good(certificate: Path, key: Path, now: datetime) -> bool:
    if not certificate.exists() or not key.exists():
        return False
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    return found.not_valid_after_utc - _RENEWED_BEFORE > now


def _make(certificate: Path, key: Path, now: datetime) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "huntaze door on this machine")])
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    public = x509.SubjectKeyIdentifier.from_public_key(secret.public_key())
    # Its own authority, so that trusting this one file is enough; it can sign nothing else, since
    # a path below it may have no length.
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(public, critical=False)
        .sign(secret, hashes.SHA256())
    )
    written = secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # The key first: a certificate without its key is taken for none.
    _write(key, written, 0o600)
    _write(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
