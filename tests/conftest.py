"""What holds for every test."""

from hypothesis import HealthCheck, settings

# How fast examples are made says something about the machine, and the first ones build tables of
# Unicode; neither is a claim of any test here. The same examples come in every run, so that a test
# that passed fails for a change alone; `--hypothesis-profile=search` looks for others.
settings.register_profile(
    "here", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", settings.get_profile("here"), derandomize=False)
settings.load_profile("here")
