"""Time moved by hand, readers played by a seed, mail that goes nowhere: the real stages, rehearsed."""
