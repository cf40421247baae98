"""An encoded photo whose masks SAM's decoder may refine."""

from __future__ import annotations

import threading
from typing import Any

from ...labelling.remembering import RememberingDecoder
from ..worded.encoded_photo import Made, WordedEncodedPhoto


class RefinableEncodedPhoto(WordedEncodedPhoto[Made]):
    """See `EncodedPhoto`. SAM's features are put to what was made when they are first needed.

    Attributes:
        decoder: SAM's, with a memory for this photo; None until something is refined.
        turn: held while the photo is asked about.
    """

    def __init__(self, *encoded: Any) -> None:
        """As `WordedEncodedPhoto`."""
        super().__init__(*encoded)
        self.decoder: RememberingDecoder | None = None
        self.turn = threading.RLock()

    @property
    def nbytes(self) -> int:
        """See `EncodedPhoto.nbytes`; the decoder's answers count."""
        return super().nbytes + (self.decoder.nbytes if self.decoder else 0)
