"""The paper market: prices that look like a market's, and are the same on every instance."""
