"""The shop-floor side: what turns messages and registers into readings."""
