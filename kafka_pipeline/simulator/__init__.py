"""A ClaimX one can run, with the truth about it. Knows section 5 and 6 of the domain, nothing of the workers."""
