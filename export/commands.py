"""A path that users import: `export-engines` lives in `cli.export_engines`."""

from .cli.export_engines import export_engines as export_engines
from .cli.export_engines import main as main
