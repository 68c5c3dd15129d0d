"""Who may come in: the guard before every request, and the pages on which people sign in.

`door` knows the rules, `guard` holds them over HTTP and WebSockets, `pages` are the few pages that are open to all.
"""
