"""`ovdeploy sign`: the signature of a bundle, for those who ship it."""

from __future__ import annotations

from pathlib import Path

import click

from ..bundle.bundle import Bundle
from ..bundle.signature import sign as sign_digest
from .common import either_bundle, fail_cleanly


@click.command()
@either_bundle
@click.option("--key", type=click.Path(path_type=Path), required=True, help="An Ed25519 private key in PEM.")
@fail_cleanly
def sign(bundle: Path, key: Path) -> None:
    """Sign BUNDLE, so that those who run it can tell that it is yours.

    The signature covers the manifest's digest, and by it every file that the manifest names. It is written to
    BUNDLE/bundle.json.sig. Every command that loads a bundle takes --verify-key PUBLIC.pem and then refuses one that is
    not signed with that key; so does everything else while OVDEPLOY_VERIFY_KEY names the key. What changes the manifest
    (export-engines, build-plans) makes the signature void: sign again. The exit code is 1 if a file is not the
    manifest's or the key is none.

    \b
    Examples:
      openssl genpkey -algorithm ed25519 -out private.pem
      openssl pkey -in private.pem -pubout -out public.pem
      ovdeploy sign --bundle engines/trident-b16 --key private.pem
      ovdeploy segment photo.jpg --bundle engines/trident-b16 --classes "cup" --verify-key public.pem
    """
    opened = Bundle.written_here(bundle)
    for entry in opened.manifest.files():  # a signature is for files that were read, not for what the manifest claims
        opened.verified(entry)
    click.echo(sign_digest(opened.path, opened.digest, key))
