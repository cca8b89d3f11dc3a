"""A faithful local AWS Lambda environment, and what is measured in it."""

__version__ = "0.1.0"
