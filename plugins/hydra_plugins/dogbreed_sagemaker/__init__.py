"""A Hydra launcher that ships sweeps: ``python -m dogbreed.train -m hydra/launcher=sagemaker launch=a10g seed=1,2``."""
