"""The report page: one file that shows a run, with charts and sounds in it, and asks no network for anything."""
