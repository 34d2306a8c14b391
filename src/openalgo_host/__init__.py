"""A small, real host application on openalgo_cache: users, API keys, sessions, the symbol master, pages and an API."""
