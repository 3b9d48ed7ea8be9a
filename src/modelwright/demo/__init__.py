"""The demo: a year of flights out of New York goes through the whole loop by itself."""
