"""Tuning jobs: SageMaker's own search, over the same space and with the same jobs as any other."""
