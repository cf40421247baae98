"""Learned methods that give a logit for every word and place: crops, a tower, a head, and their answers merged."""
