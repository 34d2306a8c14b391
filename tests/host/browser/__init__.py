"""Tests in a real browser. A package of its own, so that the browser is closed when they are through."""
