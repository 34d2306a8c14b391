"""Strategies that live for days: what users want to run, who runs it, and the processes."""

from __future__ import annotations

from openalgo_host.strategies.errors import RefusedStrategyError, UnknownStrategyError
from openalgo_host.strategies.strategies import Strategies, StrategyView

__all__ = ["RefusedStrategyError", "Strategies", "StrategyView", "UnknownStrategyError"]
