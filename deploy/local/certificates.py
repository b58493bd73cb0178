"""Certificates of the run's own, by which its servers and their clients know each other."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.local.ports import HOST
from deploy.local.servers import write_secret


@dataclass(frozen=True)
class Certificates:
    """Where an authority's certificate lies, and a server's and a client's that it has signed, with their keys."""

    folder: Path

    @property
    def trusted(self) -> Path:
        """The folder that holds the authority's certificate, and nothing else."""
        return self.folder / "trusted"

    @property
    def authority(self) -> Path:
        """The authority's certificate."""
        return self.trusted / "ca.pem"

    @property
    def server(self) -> Path:
        """The certificate of a server on this machine."""
        return self.folder / "server.pem"

    @property
    def server_key(self) -> Path:
        """The server's key, as PKCS#8."""
        return self.folder / "server.key"

    @property
    def client(self) -> Path:
        """The certificate of a client."""
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        """The client's key, as PKCS#8."""
        return self.folder / "client.key"

    def settings(self) -> dict[str, str]:
        """Return what a client is told: the text of each file, by the name of components' setting."""
        files = {"caCert": self.authority, "clientCert": self.client, "clientKey": self.client_key}
        return {name: path.read_text(encoding="ascii") for name, path in files.items()}


def own_certificates(folder: Path) -> Certificates:
    """Return the certificates in the folder; the first call makes them, for the owner only.

    The authority's key is not kept: nobody can have another certificate signed by it.
    """
    if not folder.exists():
        # What was cut off half-way is not taken for the whole.
        begun = folder.with_name(f"{folder.name}.begun")
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(mode=0o700)
        _make(Certificates(begun))
        begun.rename(folder)
    return Certificates(folder)


def _make(made: Certificates) -> None:
    # Only a run with TLS needs them, and they take a while to import.
    import trustme  # noqa: PLC0415 - needed once
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - needed once

    authority = trustme.CA()
    made.trusted.mkdir()
    write_secret(made.authority, authority.cert_pem.bytes().decode())
    for certificate, key in ((made.server, made.server_key), (made.client, made.client_key)):
        leaf = authority.issue_cert(HOST, "localhost", common_name=certificate.stem)
        write_secret(certificate, "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems))
        # Kafka takes no other form of a key.
        form = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_secret(key, form.decode())
