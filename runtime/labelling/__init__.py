"""From logits to a labelled mask: the coarse mask, its regions, their prompts, refinement."""
