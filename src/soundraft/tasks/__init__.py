"""One module per task; `params/tasks.py` lists them."""
