"""The miniature CLIP, DINO-like extractor and SAM that come with the package: their shapes, words and training."""
