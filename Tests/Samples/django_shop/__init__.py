"""A web shop on Django: each request in a transaction (ATOMIC_REQUESTS), users, sessions and middleware."""
