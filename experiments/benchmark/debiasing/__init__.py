"""Debiasing with a small unbiased sample, in four tasks, beside baselines."""
