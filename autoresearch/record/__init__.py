"""Record a night on disk: its journal and the state it replays to, git, results.tsv, pauses, retention."""
