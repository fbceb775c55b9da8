"""Debiasing with a small unbiased sample: tables, images, ratings and a mixture, beside baselines."""
