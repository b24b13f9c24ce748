"""One logger for everything: data in fields, never a token, prompt or header. And counters."""

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()


def count(name: str) -> None:
    """Count one occurrence of *name*, in the namespace of POWERTOOLS_METRICS_NAMESPACE."""
    with single_metric(name=name, unit=MetricUnit.Count, value=1):
        pass
