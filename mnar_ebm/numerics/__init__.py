"""Densities and draws that single precision bears: the normal, the logistic, the open interval."""
