"""Treat versions of the editable file as data: constants, edits, patches. No I/O."""
