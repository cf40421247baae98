"""SAM's part of the reference, which several pipelines share."""
