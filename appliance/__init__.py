"""Everything the product does, one folder a stop on the road from examples to answers."""

__version__ = "0.1.0"
