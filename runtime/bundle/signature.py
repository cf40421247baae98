"""Signatures of bundles: who ships one signs its manifest's digest, who runs it checks that with the public key.

Ed25519 by the package cryptography. The signature lies beside the manifest and covers, by the digest, all that the
manifest says and every file that it names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..boundary.reading import read_bytes, why_no_file
from ..errors import BundleError, ParameterError, needing
from ..files import write_bytes
from .advice import signing

SIGNATURE = "bundle.json.sig"
"""64 bytes, as hexadecimal text."""
VERIFY_VARIABLE = "OVDEPLOY_VERIFY_KEY"
"""The environment's public key: with it, every bundle that is loaded must be signed."""
MESSAGE = b"ovdeploy bundle\n"
"""Before the digest in what is signed: a signature made for another purpose does not serve here."""


def key_asked_for() -> Path | None:
    """The public key that the environment names."""
    named = os.environ.get(VERIFY_VARIABLE)
    return Path(named) if named else None


def sign(folder: Path, digest: str, key: Path) -> Path:
    """Write the signature of a bundle.

    Args:
        folder: the bundle's.
        digest: its manifest's.
        key: an Ed25519 private key in PEM, without a password.

    Returns:
        The signature's path.

    Raises:
        ParameterError: it is no such key.
        MissingExtraError: cryptography is not installed.
    """
    private = _read(key, "load_pem_private_key", "Ed25519PrivateKey", "private", password=None)
    path = folder / SIGNATURE
    write_bytes(path, private.sign(MESSAGE + digest.encode()).hex().encode() + b"\n")
    return path


def check_signature(folder: Path, digest: str, key: Path) -> None:
    """Refuse a bundle that was not signed with the private half of a key.

    Args:
        folder: the bundle's.
        digest: its manifest's, already compared with the manifest.
        key: an Ed25519 public key in PEM.

    Raises:
        BundleError: there is no signature, or another's, or the manifest has been changed since.
        ParameterError: it is no such key.
        MissingExtraError: cryptography is not installed.
    """
    public = _read(key, "load_pem_public_key", "Ed25519PublicKey", "public")
    from cryptography.exceptions import InvalidSignature

    path = folder / SIGNATURE
    if why := why_no_file(path):
        raise BundleError(f"{folder} is not signed: {path.name} cannot be read ({why}). {_advice(folder)}")
    text = read_bytes(path, BundleError, "the signature")
    try:
        public.verify(bytes.fromhex(text.decode("ascii").strip()), MESSAGE + digest.encode())
    except (InvalidSignature, ValueError) as error:
        raise BundleError(
            f"{folder}: {path.name} is not this manifest's by the key {key}: another key signed it, or the bundle was "
            f"changed since (by build-plans, for example). {_advice(folder)}"
        ) from error


def _advice(folder: Path) -> str:
    return f"Whoever ships the bundle signs it by: {signing(folder)}"


def _read(path: Path, loader: str, kind: str, half: str, **how: Any) -> Any:
    with needing("cryptography", "sign", "signing bundles and checking signatures"):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    if why := why_no_file(path):
        raise ParameterError(f"{path} is no {half} key in PEM ({why}). {_MAKING}")
    try:
        key = getattr(serialization, loader)(read_bytes(path, ParameterError, "the key"), **how)
    except (ValueError, TypeError) as error:
        raise ParameterError(f"{path} is no {half} key in PEM ({error}). {_MAKING}") from error
    if not isinstance(key, getattr(ed25519, kind)):
        raise ParameterError(f"{path} is no Ed25519 {half} key. {_MAKING}")
    return key


_MAKING = (
    "Make a pair by: openssl genpkey -algorithm ed25519 -out private.pem; "
    "openssl pkey -in private.pem -pubout -out public.pem"
)
