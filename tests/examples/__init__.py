"""The examples, run for real: under gunicorn, with load, with kills, and then every number added up."""
