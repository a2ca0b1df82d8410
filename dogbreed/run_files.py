"""Names of what is in a run folder and in a sweep's: for those who write them, read them, and bring them home."""

# How the run stands, and who is at work in it.
RUN_JSON, RUN_LOCK = "run.json", "run.lock"
# What it says of a run that is over and is not written over.
FINISHED_STATES = ("completed", "pruned")
# What was asked for, and what it came to.
HYDRA_CONFIG, HYDRA_OVERRIDES, CONFIG_YAML = ".hydra/config.yaml", ".hydra/overrides.yaml", "config.yaml"
CHECKPOINTS = "checkpoints"
BEST, LAST, FINISHED = "best.ckpt", "last.ckpt", "finished.ckpt"
METRICS_JSON, METRICS_CSV = "metrics.json", "metrics.csv"
SPLITS_CSV, PREDICTIONS_CSV = "splits.csv", "predictions.csv"
CLASSES_CSV, CONFUSION_CSV = "classes.csv", "confusion.csv"
CURVES_PNG, CONFUSION_PNG, MISTAKES_PNG = "curves.png", "confusion.png", "mistakes.png"
THUMBS, THUMBS_INDEX = "thumbs", "index.csv"
MODEL = "model"

# Diagnosis.
DIAGNOSIS_JSON, STEPS_CSV, SYSTEM_CSV = "diagnosis.json", "steps.csv", "system.csv"
# TensorBoard's profiler plugin finds a trace by this ending, too.
PROFILE, OPERATORS_CSV, WINDOW_JSON, TRACE = "profile", "operators.csv", "window.json", "main.pt.trace.json.gz"
# The trial of the smdebug hook.
SMDEBUG = "smdebug"

# Pages, and what a sweep folder has of its own.
REPORT_HTML, COMPARISON_HTML = "report.html", "comparison.html"
SWEEP_JSON, SWEEP_HTML = "sweep.json", "sweep.html"
# Of a search: what it is and how it stands, who is at work in it, and its study if that is a file.
SEARCH_JSON, SEARCH_LOCK, STUDY_DB = "search.json", "search.lock", "study.db"

# What a run writes, checkpoints aside, and may leave half when it is killed.
WRITTEN = (
    *(RUN_JSON, METRICS_JSON, METRICS_CSV, SPLITS_CSV, PREDICTIONS_CSV, CLASSES_CSV, CONFUSION_CSV, CONFIG_YAML),
    *(DIAGNOSIS_JSON, STEPS_CSV, SYSTEM_CSV, PROFILE, CURVES_PNG, CONFUSION_PNG, MISTAKES_PNG, THUMBS, MODEL),
    REPORT_HTML,
)
