"""The one worker loop, and the decisions it is made of."""
