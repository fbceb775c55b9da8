"""Data sets by name: those of scikit-learn, simulated ones, and loaders of public files."""
