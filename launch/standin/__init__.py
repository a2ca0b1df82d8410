"""AWS on this machine, for trying and testing: no account, no cost, no container engine.

``python -m launch.standin`` starts it. moto answers for S3, IAM, STS, CloudWatch's logs and SageMaker; here is what it
lacks (`actions`), what makes a training job really train (`worker`), and faults on request (`faults`).
"""

from launch.standin.server import StandIn

__all__ = ["StandIn"]
