"""Version 1 of the API, as the ``openalgo`` client from PyPI speaks it."""
