"""Who proposes what: the search policy, scorecards, and the proposers."""
