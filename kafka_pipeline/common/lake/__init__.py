"""The lake: Delta tables that are merged into, files beside them. Knows no domain.

Declarations and planning (`rules`, `tables`, `merge`) are pure; `delta` and `objects` are the edges; `committer` and
`writer` gather many small writes into few large ones. Import from the modules: the pure ones must stay light.
"""
