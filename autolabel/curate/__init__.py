"""Curation: the dataset as FiftyOne shows it, and what people decided there read back."""
