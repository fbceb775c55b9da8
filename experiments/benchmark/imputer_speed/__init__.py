"""Seconds of the imputer beside those of a build of before and of peers, each in a cold process."""
