"""Who wakes the stages. The stages know nothing of it: each can be run at any moment, twice, or by two at once."""
