"""Stand-ins that tests and benchmarks share: servers, nights, candidates, a toy task. Imports neither of the two."""
