"""The pure core: no I/O, no clock, no randomness, no ORM, no logging. Time and chance arrive as arguments."""
