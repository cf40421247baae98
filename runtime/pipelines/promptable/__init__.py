"""What promptable models share: encode a photo once, then ask by points, boxes and masks."""
