"""Everything that talks to AWS: the only part of the project that imports boto3 or knows the SageMaker SDK."""
