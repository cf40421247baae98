"""Optional stages: what a bundle may hold beside its pipeline. Exported when asked, they cost nobody else anything."""

from __future__ import annotations

from typing import NamedTuple


class OptionalStage(NamedTuple):
    """One stage that no method needs."""

    needs_sam: bool
    purpose: str
    """What it is for, as users are told."""


OPTIONAL = {
    "sam_prompt_decoder": OptionalStage(True, "interactive prompts: segmenter.prompt, `ovdeploy prompt`"),
    "clip_layers": OptionalStage(False, "measuring CLIP's blocks: `ovdeploy layers`"),
}
"""By name. A recipe asks for one in `optional_stages`, the command line by --interactive or --stages."""


def optional_stages(*, with_sam: bool) -> tuple[str, ...]:
    """The optional stages that a bundle with or without SAM can hold."""
    return tuple(name for name, stage in OPTIONAL.items() if with_sam or not stage.needs_sam)
