"""Let several Macs research one question: a coordinator keeps the journals, and members make its runs."""
