"""Clips: reading them frame by frame, and what is answered about them, whatever answers."""
