"""Hypothesis runs reproducibly and without deadlines: the machine may be slow, the mathematics is not."""

from hypothesis import settings

settings.register_profile("minissl", deadline=None, max_examples=40, derandomize=False, print_blob=True)
settings.load_profile("minissl")
