"""Sweeps: records of trials, ranking, tables."""
