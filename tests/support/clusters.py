"""`ovdeploy batch` as the tests of stores and clusters call it."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.cli.batch import batch
from support.samples import random_vocabulary


def arguments(bundle: Any, source: Any, out: Any, *more: Any) -> list[str]:
    """Its command line, with words that need no text engine."""
    words = out.parent / "words.npz"
    random_vocabulary(Bundle.load(bundle).manifest.dimensions.embedding).save(words)
    how = ("--bundle", bundle, "--vocabulary", words, "--backend", "onnxruntime", "--threads", 1)
    return [str(each) for each in (source, out, *how, *more)]


def call(bundle: Any, source: Any, out: Any, *more: Any, code: int = 0, text: bool = False) -> Any:
    """What it answers: its summary, or what it says to people."""
    result = CliRunner().invoke(batch, [*arguments(bundle, source, out, *more), *([] if text else ["--json"])])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.stderr
    return result.stderr if text else json.loads(result.stdout.splitlines()[-1])
