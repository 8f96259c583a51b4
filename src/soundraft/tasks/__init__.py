"""One module per task: the only place where its model, metric and data meet."""
