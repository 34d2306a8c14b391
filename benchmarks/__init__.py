"""What the caches cost, as ratios to other caches in the same run: ``python -m benchmarks`` (see docs/performance.md).

Each benchmark is a module with a function ``run(*, quick)`` that returns lines (``lines.py``).
"""
