"""One run from a resolved configuration to a run folder: `fit_run`."""
