"""A study: propose candidates, measure them, tell the results, until the budget is spent."""
