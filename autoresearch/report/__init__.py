"""Show nights to a person: status, the live view, report.html, charts and comparison pages."""
