"""A Hydra sweeper on today's Optuna: ``python -m dogbreed.train -m hydra/sweeper=dogbreed 'optim.lr=interval(1e-4,1e-2)'``."""
