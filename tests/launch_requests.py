"""Botocore's own judgement of a request, without an account or a network."""

from functools import cache

import botocore.session
from botocore.validate import ParamValidator


@cache
def operation(name="CreateTrainingJob"):
    """Return the shape of an operation's input from the service model that botocore brings."""
    return botocore.session.get_session().get_service_model("sagemaker").operation_model(name).input_shape


def refused_by_botocore(request, name="CreateTrainingJob") -> str:
    """Return what botocore has against a request; empty if nothing."""
    report = ParamValidator().validate(dict(request), operation(name))
    return report.generate_report() if report.has_errors() else _wrong_words(request, operation(name))


def _wrong_words(value, shape, place=""):
    """Enumerations and closed patterns, which botocore leaves to the service."""
    if shape.type_name == "structure":
        return "".join(_wrong_words(item, shape.members[key], f"{place}.{key}") for key, item in value.items())
    if shape.type_name == "list":
        return "".join(_wrong_words(item, shape.member, f"{place}[]") for item in value)
    if shape.type_name == "map":
        return "".join(_wrong_words(item, shape.value, f"{place}.{key}") for key, item in value.items())
    valid = shape.metadata.get("enum")
    return f"{place}={value} is none of {valid}\n" if valid and value not in valid else ""
