"""Imputation error of ours, of peers and as published, over data sets, masks and seeds."""
