"""soundraft: reproducible audio machine learning, with models that improve themselves by RAFT."""
