"""Which of CLIP's blocks suit a user's photos (S2CLIP, Algorithm 1)."""
