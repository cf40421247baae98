"""Tracking: objects that were prompted on some frames of a video, found on all others."""
