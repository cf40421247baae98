"""Names and numbers that the tracking pipeline's stages share."""

from __future__ import annotations

TRACK_DECODER, MEMORY_ENCODER, MEMORY_ATTENTION = "sam_track_decoder", "sam_memory_encoder", "sam_memory_attention"
"""The stage that answers for objects with a memory, the one that makes memories, and the one that reads them."""

NO_POINT = -2
"""Label of a point that says nothing and still counts, as SAM 2 has one where nobody prompts."""

ASKED, GIVEN, GIVEN_EMPTY = 0, 1, 2
"""What an object's row is to the decoder: asked for a mask; or told one, and only asked for its pointer."""

TRACKED_FRAMES, POINTER_FRAMES = 6, 15
"""So many frames before the present one are read, and the pointers of so many."""
