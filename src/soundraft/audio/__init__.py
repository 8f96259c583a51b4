"""Reading, writing and levelling of audio."""
