"""Serve a checkout's nights over HTTP: the REST interface, the live page, the inbox. Needs the extra `serve`."""
