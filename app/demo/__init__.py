"""The demo: a simulated plant that talks to a real Andon over real protocols."""
