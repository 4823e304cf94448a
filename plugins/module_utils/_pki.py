# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: the internal certificate authority and the hosts' certificates, as files in one folder. May change at any time."""

from __future__ import annotations

import datetime
import ipaddress
import os
import pathlib
import tempfile
import typing as t

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

AUTHORITY_NAME = "groundwork.observability internal authority"
AUTHORITY_DAYS = 3650
# Clocks differ: a certificate is valid from a little before it was issued.
BEFORE = datetime.timedelta(hours=1)


class PkiError(Exception):
    """What ends the run: one line for the user."""


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def write(path: pathlib.Path, content: bytes, mode: int) -> None:
    """Puts a file in place by rename, with its permissions from the start."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".pki-")
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise


def alternative_names(names: t.Iterable[str]) -> x509.SubjectAlternativeName:
    """Names such as V(DNS:ch1) and V(IP:192.0.2.1) as the certificate's extension."""
    found: list[x509.GeneralName] = []
    for name in names:
        kind, _colon, value = name.partition(":")
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(value)) if kind == "IP" else x509.DNSName(value))
        except ValueError as error:
            raise PkiError(f"a certificate cannot be for the name {value!r}: {error}") from None
    return x509.SubjectAlternativeName(found)


class Pki:
    """A folder with C(ca.crt), C(ca.key) and C(hosts/<name>.crt|.key)."""

    def __init__(self, folder: str, now: t.Callable[[], datetime.datetime] = _now) -> None:
        self.folder, self.now = pathlib.Path(folder), now
        self._authority: t.Optional[x509.Certificate] = None
        self._authority_key: t.Any = None

    @property
    def has_authority(self) -> bool:
        """Whether there is a certificate of an authority."""
        return (self.folder / "ca.crt").exists()

    @property
    def authority(self) -> x509.Certificate:
        """The authority's certificate."""
        if self._authority is None:
            self._authority = self._certificate(self.folder / "ca.crt")
        return self._authority

    def make_folders(self) -> None:
        """The folder and the one of the hosts, for their owner only."""
        for folder in (self.folder, self.folder / "hosts"):
            if not folder.is_dir():
                folder.mkdir(parents=True)
                folder.chmod(0o700)

    def make_authority(self) -> None:
        """A new authority. Its key is written first: without a certificate the next run makes both again."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, AUTHORITY_NAME)])
        usage = {flag: flag in ("key_cert_sign", "crl_sign") for flag in _KEY_USAGES}
        certificate = (
            self._builder(name, name, key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        self._write_pair(self.folder / "ca", key, certificate)
        self._authority, self._authority_key = certificate, key

    def due(self, host: str, names: t.Sequence[str], days: int) -> bool:
        """Whether a host's certificate has to be issued (again).

        :param host: the host's name.
        :param names: the names that it has to be for.
        :param days: whether it ends in fewer days than these counts as due.
        """
        base = self.folder / "hosts" / host
        try:
            pem, key = base.with_name(f"{host}.crt").read_bytes(), self._key(base.with_name(f"{host}.key"))
        except FileNotFoundError:
            return True
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            certificate.verify_directly_issued_by(self.authority)
            have = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return True
        return (
            set(have) != set(alternative_names(names))
            or certificate.public_key() != key.public_key()
            or certificate.not_valid_after_utc - self.now() < datetime.timedelta(days=days)
        )

    def end(self, host: str) -> t.Optional[datetime.datetime]:
        """When a host's certificate ends; None if there is none, or if the file is no certificate."""
        try:
            return x509.load_pem_x509_certificate((self.folder / "hosts" / f"{host}.crt").read_bytes()).not_valid_after_utc
        except (FileNotFoundError, ValueError):
            return None

    def lacks(self, host: str, names: t.Iterable[str]) -> list[str]:
        """Those of the names that a host's certificate is not for; none if there is no certificate, or if the file is no certificate."""
        try:
            certificate = x509.load_pem_x509_certificate((self.folder / "hosts" / f"{host}.crt").read_bytes())
        except (FileNotFoundError, ValueError):
            return []
        try:
            have = set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        except x509.ExtensionNotFound:
            have = set()
        return [name for name in names if not have >= set(alternative_names([name]))]

    def issue(self, host: str, names: t.Sequence[str], days: int) -> None:
        """A new key and a certificate for it, for use as a server and as a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        # A common name has 64 characters at most; the names that count are the alternative ones.
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host[:64])])
        usages = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._builder(subject, self.authority.subject, key.public_key(), days)
            .add_extension(alternative_names(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(self._authority_identifier(), critical=False)
            .sign(self._signing_key(), hashes.SHA256())
        )
        self._write_pair(self.folder / "hosts" / host, key, certificate)

    def _authority_identifier(self) -> x509.AuthorityKeyIdentifier:
        try:
            own = self.authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(t.cast(t.Any, self.authority.public_key()))
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)

    def _builder(self, subject: x509.Name, issuer: x509.Name, key: t.Any, days: int) -> x509.CertificateBuilder:
        now = self.now()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BEFORE)
            .not_valid_after(now + datetime.timedelta(days=days))
        )

    def _signing_key(self) -> t.Any:
        if self._authority_key is None:
            path = self.folder / "ca.key"
            if not path.exists():
                raise PkiError(f"{path} is missing: put the key of ca.crt there, or issue the hosts' certificates yourself")
            self._authority_key = self._key(path)
        return self._authority_key

    def _certificate(self, path: pathlib.Path) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(path.read_bytes())
        except ValueError as error:
            raise PkiError(f"{path} is not a certificate in PEM format: {error}") from None

    def _key(self, path: pathlib.Path) -> t.Any:
        try:
            return serialization.load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise PkiError(f"{path} is not a private key in PEM format without a password: {error}") from None

    @staticmethod
    def _write_pair(base: pathlib.Path, key: t.Any, certificate: x509.Certificate) -> None:
        """The key first: where the certificate is missing or belongs to another key, the next run issues both again."""
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        write(base.with_name(f"{base.name}.key"), pem, 0o600)
        write(base.with_name(f"{base.name}.crt"), certificate.public_bytes(serialization.Encoding.PEM), 0o644)


_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
