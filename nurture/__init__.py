"""nurture follows up: declarative e-mail cadences, proven sending, explained decisions."""
