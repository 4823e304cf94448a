# GNU General Public License v3.0+ (see LICENSE)
"""Certificates for servers that tests start."""

from __future__ import annotations

import http.client
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ansible_collections.groundwork.observability.plugins.filter.tls import GATEWAY_NAME
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Pki:
    """A CA and one certificate for localhost and for the name that several gateways share, by openssl."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.certificate, self.key, self.both = (
            folder / name for name in ("ca.pem", "host.pem", "host.key", "both.pem")
        )
        curve: list[str | Path] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        names = f"DNS:localhost,DNS:{GATEWAY_NAME},IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.4"
        extension: list[str | Path] = ["-addext", f"subjectAltName={names}"]
        authority = ["-CA", self.ca, "-CAkey", folder / "ca.key"]
        ca_files: list[str | Path] = ["-keyout", folder / "ca.key", "-out", self.ca]
        host_files = ["-keyout", self.key, "-out", self.certificate]
        for name, more in (("test CA", ca_files), ("host", [*extension, *authority, *host_files])):
            command = ["openssl", "req", "-x509", "-subj", f"/CN={name}", *curve, *more]
            subprocess.run(command, check=True, capture_output=True)
        self.both.write_text(self.key.read_text(encoding="ascii") + self.certificate.read_text(encoding="ascii"))

    def expired(self) -> str:
        """The same certificate for the same key, but it ended an hour ago."""
        now = datetime.now(UTC)
        own = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        made = x509.CertificateBuilder(own.issuer, own.subject, own.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=2)).not_valid_after(now - timedelta(hours=1))
        for extension in own.extensions:
            made = made.add_extension(extension.value, extension.critical)
        authority = serialization.load_pem_private_key((self.ca.parent / "ca.key").read_bytes(), None)
        assert isinstance(authority, ec.EllipticCurvePrivateKey)
        return made.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def config(self, mode: str = "relaxed") -> str:
        """<openSSL> for both sides."""
        own = f"<certificateFile>{self.certificate}</certificateFile><privateKeyFile>{self.key}</privateKeyFile>"
        return f"""
        <openSSL>
          <server>{own}<caConfig>{self.ca}</caConfig><verificationMode>{mode}</verificationMode></server>
          <client>{own}<caConfig>{self.ca}</caConfig><verificationMode>strict</verificationMode>
            <loadDefaultCAFile>false</loadDefaultCAFile>
            <invalidCertificateHandler><name>RejectCertificateHandler</name></invalidCertificateHandler></client>
        </openSSL>"""

    def https(
        self, port: int, sql: str, user: str, *, host: str = "127.0.0.1", source: str = "127.0.0.1", own: bool = False
    ) -> tuple[int, str]:
        """Status and answer of one statement over https."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if own:
            context.load_cert_chain(self.certificate, self.key)
        connection = http.client.HTTPSConnection(host, port, context=context, timeout=10, source_address=(source, 0))
        name, _, password = user.partition(":")
        connection.request("POST", "/", sql, {"X-ClickHouse-User": name, "X-ClickHouse-Key": password})
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
