"""Whether structure among the gaps is taken for values that hide themselves."""
