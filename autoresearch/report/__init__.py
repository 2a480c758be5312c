"""What a person looks at: status, the live view, report.html, charts, comparison pages."""
