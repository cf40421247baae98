"""How the miniature CLIP, DINO-like extractor and SAM that come with the package are trained."""
