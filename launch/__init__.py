"""Ships runs of dogbreed to Amazon SageMaker, and tries them on this machine first.

What decides is pure (`launch.plan` and what it calls): a configuration in, the API's requests out. Only `launch.aws`
imports the AWS SDK, only `launch.container`, which runs inside a job, imports the trainer.
"""
