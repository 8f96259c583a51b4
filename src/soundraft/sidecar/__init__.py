"""Features aligned with the tokens: their format, the producers that make them, and their audit. No torch in here."""
