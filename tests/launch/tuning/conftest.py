"""A stand-in whose jobs a test moves on itself, and one that runs them."""

from launch_standin import aws, connection, driven, jobs, running, service, store  # noqa: F401
