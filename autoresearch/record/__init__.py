"""What happened, on disk: the journal and the state it replays to, git, results.tsv, pauses, retention."""
