"""Common ground of promptable models: encode a photo once, then ask by points, boxes and masks."""
