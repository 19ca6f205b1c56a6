"""For all tests: a property is true or false, however busy the machine is that looks for it."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("no-deadline", deadline=None)
hypothesis.settings.load_profile("no-deadline")
