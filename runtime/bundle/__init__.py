"""A bundle: the folder that `export-engines` writes and the deploy box loads."""

from __future__ import annotations

from ..geometry.dimensions import Dimensions as Dimensions
from .bundle import MANIFEST as MANIFEST
from .bundle import SCHEMA_VERSION as SCHEMA_VERSION
from .bundle import TOKENIZER as TOKENIZER
from .bundle import Bundle as Bundle
from .bundle import Manifest as Manifest
from .bundle import Provenance as Provenance
from .bundle import TextAssets as TextAssets
from .bundle import file_entry as file_entry
from .bundle import write_manifest as write_manifest
from .entries import EngineEntry as EngineEntry
from .entries import FileEntry as FileEntry
from .entries import PlanEntry as PlanEntry
from .entries import StageEntry as StageEntry
