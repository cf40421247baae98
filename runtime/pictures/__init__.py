"""Pictures for people: overlays, legends, colours of classes, and names in any script."""
