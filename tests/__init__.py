"""The tests; a package so that rooms can share `tests.servers` under any working directory."""
