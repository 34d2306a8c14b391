"""The sandbox: orders that trade against the paper market, and what comes of them."""
