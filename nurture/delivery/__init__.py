"""SMTP as it is in the world: connections, the conversation up to and after the final dot, what replies mean."""
