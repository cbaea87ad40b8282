"""Signing in to Azure: one credential for everything that needs one, always a current one. Knows no domain.

`credential` keeps it current, `sign_in` obtains it. Import from the modules: `sign_in` loads azure-identity.
"""
