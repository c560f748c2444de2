"""A small shop on Django: products with stock, and orders that are placed once each."""
