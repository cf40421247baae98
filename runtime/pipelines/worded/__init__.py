"""What pipelines share that take words: the text engine's stage, and how names become a vocabulary."""
