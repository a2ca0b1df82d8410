"""A Hydra sweeper on today's Optuna: ``python -m dogbreed.train -m sweep=head``."""
