"""What ClaimX says, what our workers say to each other, and what the tables hold: data, and nothing that acts."""
