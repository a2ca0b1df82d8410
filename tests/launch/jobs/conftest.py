"""Fixtures of the stand-in."""

from launch_standin import aws, connection, driven, jobs, running, service, store  # noqa: F401
