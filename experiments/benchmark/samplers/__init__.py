"""Samplers side by side with those of other libraries, checked before they are timed."""
