"""A small shop on Flask: products with stock, and orders that are placed once each."""
