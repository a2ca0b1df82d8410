"""Names of the files that diagnosis leaves in a run folder."""

DIAGNOSIS_JSON, STEPS_CSV, SYSTEM_CSV, PROFILE = "diagnosis.json", "steps.csv", "system.csv", "profile"
# The trial of `SmdebugHook`.
SMDEBUG = "smdebug"
