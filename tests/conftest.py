"""What holds for every test."""

from hypothesis import HealthCheck, settings

# How fast examples are made says something about the machine, and the first ones build tables of
# Unicode; neither is a claim of any test here.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")
