"""How often the suite may fail by chance."""

#: A known answer may be missed by this many standard errors: a false failure in a million checks.
ALLOWED_ERRORS = 5.0
