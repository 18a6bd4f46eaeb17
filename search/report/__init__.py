"""Charts and the HTML report of runs."""
