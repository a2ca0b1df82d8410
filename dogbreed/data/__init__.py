"""Photographs in, batches out: index, decode, preprocess, augment, download, sample."""
