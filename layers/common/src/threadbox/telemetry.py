"""One logger for everything: data in fields, never a token, prompt or header."""

from aws_lambda_powertools import Logger, Metrics

logger = Logger()
metrics = Metrics()
