"""Define the tasks that a night can work on."""
