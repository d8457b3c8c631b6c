#!/usr/bin/env python3
"""Compares the engine with LightGBM, scikit-learn and FLAML on equal splits.

One command, from anywhere in the workspace:

    python3 crates/automl/bench/baselines.py [--data NAME ...] [--seeds N] [--budget SECONDS]

It creates its own virtual environment under target/automl-bench (set VENV to use
another), writes each split as CSV there, runs `examples/bench.rs` and the Python
baselines on the same files, and prints two tables in Markdown, medians over the
seeds, and what they add up to (--out FILE writes it as well):

- one model against one model: the engine with one candidate, and LightGBM and
  scikit-learn's HistGradientBoosting with their defaults;
- a search against a search: the engine with ten candidates, and FLAML, with the
  same wall-clock budget.

Seconds are for everything from the table in memory to the model, which for the
engine means reading the text, holding rows out, measuring, and training again on
all rows. Of --repeats fits of one model the fastest counts. `rows/s` is scoring
the test rows from text (engine) or from a DataFrame (Python). All use all cores,
or as many as --threads says. On a busy machine, --cpu prints processor seconds
instead, gives FLAML its budget in them, none to the engine, which ends after ten
candidates, and leaves out rows/s, which only the clock could tell. Idle threads
that spin count there, so --threads 1 is fairest. Baselines
of earlier runs are used again unless --fresh. A CSV file of your own:
--data FILE.csv:TARGET. CHURN names the file of the set `churn`, which no package
ships; without it, that set is left out.
"""
import argparse, json, math, os, pathlib, statistics, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parents[3]
WORK = ROOT / "target" / "automl-bench"
VENV = pathlib.Path(os.environ.get("VENV", WORK / "venv"))


PACKAGES = ["lightgbm==4.7.0", "scikit-learn==1.9.1", "pandas==3.1.1", "flaml[automl]==2.7.0", "xgboost==2.1.4"]


def enter_venv():
    """Runs this script again with the packages it needs."""
    python, done = VENV / "bin" / "python", VENV / "packages.txt"
    if os.environ.get("AUTOML_BENCH") == "1":
        return
    # A file written last, so that an interrupted installation is taken up again.
    if "VENV" not in os.environ and not (done.exists() and done.read_text().split() == PACKAGES):
        WORK.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES], check=True)
        done.write_text("\n".join(PACKAGES))
    os.environ["AUTOML_BENCH"] = "1"
    os.execv(python, [str(python), *sys.argv])


def frames():
    """Name -> (function that makes a DataFrame with a column `target`, is it regression?)."""
    import numpy as np, pandas as pd
    from sklearn import datasets as sk

    def built_in(load):
        def make():
            frame = load(as_frame=True).frame
            return frame.rename(columns=lambda name: str(name).replace(",", " "))
        return make

    def made(x_y):
        x, y = x_y
        frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])])
        frame["target"] = y
        return frame

    def shop(rows=6000):
        """Mixed types: numbers with gaps, few and many categories, a date."""
        rng = np.random.default_rng(1)
        city = rng.integers(0, 400, rows)
        plan = rng.integers(0, 4, rows)
        age = rng.gamma(3, 12, rows)
        spend = rng.lognormal(3, 1, rows)
        day = rng.integers(0, 700, rows)
        effect = rng.normal(0, 1, 400)
        score = effect[city] + (plan == 2) * 1.5 - 0.03 * age + np.log1p(spend) * (plan > 0) * 0.6 + np.sin(day / 365 * 6.28)
        frame = pd.DataFrame({
            "city": [f"city {c}" for c in city], "plan": np.array(["free", "basic", "plus", "pro"])[plan],
            "age": np.where(rng.random(rows) < 0.1, np.nan, age.round(1)), "spend": spend.round(2),
            "since": (pd.Timestamp("2024-01-01") + pd.to_timedelta(day, unit="D")).strftime("%Y-%m-%d"),
        })
        frame["target"] = np.where(score + rng.logistic(0, 0.7, rows) > np.quantile(score, 0.8), "yes", "no")
        return frame

    def wide(regression, rows=750, columns=2000):
        """Far more columns than rows: after the split 600 are left to train on."""
        rng = np.random.default_rng(9)
        x = rng.normal(size=(rows, columns)).round(4)
        score = 2 * x[:, 0] + 1.5 * x[:, 1] * (x[:, 2] > 0) + x[:, 3] ** 2 - x[:, 4] + 0.4 * x[:, 5:15].sum(1)
        frame = made((x, score + rng.normal(0, 1, rows)))
        return frame if regression else frame.assign(target=np.where(frame["target"] > 1, "yes", "no"))

    def codes(rows=5000):
        """400 codes that look like numbers, beside three numbers."""
        rng = np.random.default_rng(5)
        code, effect = rng.integers(0, 400, rows), rng.normal(0, 1.2, 400)
        frame = pd.DataFrame(rng.normal(size=(rows, 3)).round(3), columns=list("abc"))
        frame["zip"] = (10_000 + rng.permutation(80_000)[:400])[code]
        score = effect[code] + 0.5 * frame["a"]
        frame["target"] = np.where(score + rng.logistic(0, 0.8, rows) > 0, "yes", "no")
        return frame

    churn = os.environ.get("CHURN")
    sets = {
        "breast_cancer": (built_in(sk.load_breast_cancer), False),
        "wine": (built_in(sk.load_wine), False),
        "digits": (built_in(sk.load_digits), False),
        "diabetes": (built_in(sk.load_diabetes), True),
        "classes": (lambda: made(sk.make_classification(6000, 20, n_informative=8, n_redundant=4, flip_y=0.05, class_sep=0.8, random_state=1)), False),
        "imbalanced": (lambda: made(sk.make_classification(8000, 15, n_informative=6, weights=[0.93], flip_y=0.02, random_state=2)), False),
        "five_classes": (lambda: made(sk.make_classification(6000, 20, n_informative=10, n_classes=5, random_state=3)), False),
        "linear_reg": (lambda: made(sk.make_regression(3000, 20, n_informative=10, noise=20, random_state=4)), True),
        "friedman1": (lambda: made(sk.make_friedman1(5000, 10, noise=1.0, random_state=5)), True),
        "friedman2": (lambda: made(sk.make_friedman2(3000, noise=100.0, random_state=6)), True),
        "shop": (shop, False),
        "wide": (lambda: wide(False), False),
        "wide_reg": (lambda: wide(True), True),
        "codes": (codes, False),
        "classes_100k": (lambda: made(sk.make_classification(100_000, 20, n_informative=10, flip_y=0.05, class_sep=0.7, random_state=7)), False),
    }
    if churn:
        def read_churn():
            return pd.read_csv(churn).rename(columns={"Churn?": "target"})
        sets = {"churn": (read_churn, False), **sets}
    return sets


def write_split(name, make, regression, seed):
    """Writes train.csv and test.csv (20 %, stratified) once; returns their folder."""
    from sklearn.model_selection import train_test_split
    folder = WORK / "data" / f"{name}-{seed}"
    if not (folder / "test.csv").exists():
        folder.mkdir(parents=True, exist_ok=True)
        frame = make()
        if not regression:
            # A text, so that both sides see labels and not amounts.
            frame["target"] = frame["target"].astype(str)
        split = train_test_split(frame, test_size=0.2, random_state=seed, stratify=None if regression else frame["target"])
        for part, rows in zip(("train", "test"), split):
            rows.to_csv(folder / f"{part}.csv", index=False)
    return folder


def engine(folder, seed, candidates, options):
    """One run of the engine; of several runs of one candidate, the fastest."""
    command = [WORK / "bench", folder / "train.csv", "target", "--test", folder / "test.csv", "--seed", seed,
               "--budget", 3600 if options.cpu else options.budget, "--metric", metric_of(folder), "--candidates", candidates]
    rows = []
    for _ in range(options.repeats if candidates == 1 else 1):
        out = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if out.returncode != 0:
            return {"error": out.stderr.strip()[-200:]}
        rows.append(json.loads(out.stdout.strip().splitlines()[-1]))
    return fastest(rows)


def fastest(rows):
    """The first row, with the least seconds of all of them."""
    return rows[0] | {key: min(row[key] for row in rows) for key in ("seconds", "cpu_seconds")}


def metric_of(folder):
    import pandas as pd
    target = pd.read_csv(folder / "train.csv", usecols=["target"])["target"]
    if str(folder.name).rsplit("-", 1)[0] in REGRESSION:
        return "MSE"
    return "AUC" if target.nunique() == 2 else "Accuracy"


REGRESSION = {"diabetes", "linear_reg", "friedman1", "friedman2", "wide_reg"}


def python_model(folder, regression, seed, name, options):
    """Runs one baseline; texts become pandas categories, as their manuals advise."""
    import warnings, logging
    from unittest import mock
    warnings.filterwarnings("ignore")
    import numpy as np, pandas as pd
    from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score
    train, test = pd.read_csv(folder / "train.csv"), pd.read_csv(folder / "test.csv")
    y, y_test = train.pop("target"), test.pop("target")
    if not regression:
        classes = sorted(y.unique())
        y, y_test = y.map(classes.index), y_test.map(classes.index)
    for column in train:
        if not pd.api.types.is_numeric_dtype(train[column]):
            dates = pd.to_datetime(train[column], format="%Y-%m-%d", errors="coerce")
            if dates.notna().all():
                train[column] = dates.astype("int64") / 8.64e13
                test[column] = pd.to_datetime(test[column], format="%Y-%m-%d").astype("int64") / 8.64e13
            elif train[column].nunique() > 0.5 * len(train):
                train, test = train.drop(columns=column), test.drop(columns=column)
            else:
                # scikit-learn alone takes 255 categories at most: there the rest is "other".
                top = train[column].value_counts().index[:250 if name == HISTGB else None]
                kind = pd.CategoricalDtype([*top, "other"])
                for part in (train, test):
                    part[column] = part[column].where(part[column].isin(top) | part[column].isna(), "other").astype(kind)

    def lightgbm():
        import lightgbm as lgb
        return (lgb.LGBMRegressor if regression else lgb.LGBMClassifier)(verbose=-1, n_jobs=options.threads, random_state=seed)

    def histogram():
        from sklearn.ensemble import HistGradientBoostingClassifier as C, HistGradientBoostingRegressor as R
        return (R if regression else C)(categorical_features="from_dtype", random_state=seed)

    def flaml():
        from flaml import AutoML
        logging.getLogger("flaml.automl").setLevel(logging.ERROR)
        metric = "mse" if regression else ("roc_auc" if y.nunique() == 2 else "accuracy")
        task = "regression" if regression else "classification"
        class Model:
            def fit(self, x, y):
                self.inner = AutoML()
                # Its clock runs as the processor works for it.
                ahead = time.time() - time.process_time()
                clock = (lambda: ahead + time.process_time()) if options.cpu else time.time
                with mock.patch("time.time", clock):
                    self.inner.fit(x, y, task=task, metric=metric, time_budget=options.budget, seed=seed, verbose=0,
                                   n_jobs=options.threads)
                return self
            def __getattr__(self, name):
                return getattr(self.inner, name)
        return Model()

    make = {LIGHTGBM: lightgbm, HISTGB: histogram, FLAML: flaml}[name]
    try:
        rows = []
        for _ in range(1 if name == FLAML else options.repeats):
            # Made before the clock starts: libraries are imported there.
            model = make()
            start, cpu = time.perf_counter(), time.process_time()
            model.fit(train, y)
            rows.append({"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu})
        row = fastest(rows)
        start, scored = time.perf_counter(), 0
        while scored == 0 or time.perf_counter() - start < 0.3:
            (model.predict if regression else model.predict_proba)(test)
            scored += len(test)
        row["rows_per_second"] = scored / (time.perf_counter() - start)
        if regression:
            row["R2"] = r2_score(y_test, model.predict(test))
        else:
            p = model.predict_proba(test)
            row["Accuracy"] = accuracy_score(y_test, p.argmax(1))
            row["LogLoss"] = log_loss(y_test, p, labels=list(range(len(classes))))
            if p.shape[1] == 2:
                row["AUC"] = roc_auc_score(y_test, p[:, 1])
        return row
    except Exception as error:
        return {"error": str(error)[-200:]}


ONE, LIGHTGBM, HISTGB, ALL, FLAML = "one candidate", "LightGBM", "HistGB", "leaderboard", "FLAML"
MODELS = [ONE, LIGHTGBM, HISTGB, ALL, FLAML]
CANDIDATES = {ONE: 1, ALL: 10}
# More than this share behind the best is behind.
TOLERANCE = 0.005


def measure(names, sets, models, options):
    """Yields each set's name, measure, and the medians of each model."""
    cache = WORK / "baselines.json"
    known = json.loads(cache.read_text()) if cache.exists() and not options.fresh else {}
    for name in names:
        make, regression = sets[name]
        rows = {model: [] for model in models}
        for seed in range(1, options.seeds + 1):
            folder = write_split(name, make, regression, seed)
            for model in models:
                if model in CANDIDATES:
                    rows[model].append(engine(folder, seed, CANDIDATES[model], options))
                    continue
                # Baselines do not change while the engine is worked on.
                budget = f"{options.budget} {'cpu ' * options.cpu}s" if model == FLAML else "default"
                key = f"{name}/{seed}/{model}/{budget}/{options.threads} threads"
                if key not in known:
                    known[key] = python_model(folder, regression, seed, model, options)
                    cache.write_text(json.dumps(known, indent=1))
                rows[model].append(known[key])
        for model in models:
            for row in rows[model]:
                if "error" in row:
                    print(f"{name}, {model}: {row['error']}", file=sys.stderr)
        # A model that failed on one split is left out of the row.
        rows = {model: all_rows for model, all_rows in rows.items() if not any("error" in row for row in all_rows)}
        first = next(iter(rows.values()), [{}])[0]
        quality = "R2" if regression else "AUC" if "AUC" in first else "Accuracy"
        keys = {"quality": quality, "seconds": "cpu_seconds" if options.cpu else "seconds", "rate": "rows_per_second"}
        middle = lambda all_rows: {k: statistics.median(row[key] for row in all_rows) for k, key in keys.items()}
        yield name, quality, {model: middle(all_rows) for model, all_rows in rows.items()}


def table(results, models, rates):
    """One table in Markdown; the best value of a row is bold."""
    columns = [("quality", "", "{:.4f}", max), ("seconds", " s", "{:.3f}", min), ("rate", " rows/s", "{:,.0f}", None)]
    columns = columns if rates else columns[:2]
    names = [model + suffix for _, suffix, _, _ in columns for model in models]
    lines = ["| data | measure | " + " | ".join(names) + " |", "|---|---|" + "---:|" * len(names)]
    for name, quality, rows in results:
        cells = []
        for key, _, form, best in columns:
            texts = [form.format(rows[model][key]) if model in rows else "failed" for model in models]
            there = [rows[model][key] for model in models if model in rows]
            if best and there:
                texts = [f"**{text}**" if text == form.format(best(there)) else text for text in texts]
            cells += texts
        lines.append(f"| {name} | {quality} | " + " | ".join(cells) + " |")
    return lines


def summary(results, ours, others):
    """In words: how often and by how much we are ahead of each of the others."""
    lines = []
    for other in others:
        pairs = [(rows[ours], rows[other]) for _, _, rows in results if ours in rows and other in rows]
        if not pairs:
            continue
        ratios = [a["seconds"] / b["seconds"] for a, b in pairs]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        better = sum(a["quality"] > b["quality"] for a, b in pairs)
        lines.append(f"- {ours} against {other}: takes {mean:.2f} times the seconds (geometric mean), "
                     f"is quicker on {sum(r < 1 for r in ratios)} and better on {better} of {len(pairs)} sets.")
    gaps, ahead = [], 0
    for name, _, rows in results:
        rivals = [rows[other]["quality"] for other in others if other in rows]
        if ours in rows and rivals:
            best = max(rivals)
            gaps.append(((best - rows[ours]["quality"]) / abs(best), name))
            ahead += rows[ours]["quality"] >= statistics.median(rivals)
    if gaps:
        behind = [f"{name} ({100 * gap:.1f} %)" for gap, name in gaps if gap > TOLERANCE]
        lines.append(f"- {ours}: at or above the median of {', '.join(others)} on {ahead} of {len(gaps)} sets, "
                     f"more than {100 * TOLERANCE} % behind the best of them on {', '.join(behind) or 'none'}.")
    return lines


def main():
    enter_venv()
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=8)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--out")
    options = parser.parse_args()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    subprocess.run(["cargo", "build", "-q", "-p", "crosspilot-automl", "--example", "bench"], cwd=ROOT, check=True)
    # The engine and the libraries take as many threads as there are cores to run on.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads:])
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "bench").write_bytes((target / "debug/examples/bench").read_bytes())
    (WORK / "bench").chmod(0o755)
    sets = frames()
    for name in options.data or []:
        if ":" in name:
            import pandas as pd
            file, column = name.rsplit(":", 1)
            sets[pathlib.Path(file).stem] = (lambda f=file, c=column: pd.read_csv(f).rename(columns={c: "target"}), False)
    chosen = [pathlib.Path(name.rsplit(":", 1)[0]).stem if ":" in name else name for name in options.data or sets]
    models = [model for model in MODELS if model in options.models]
    results = []
    for result in measure(chosen, sets, models, options):
        results.append(result)
        print(json.dumps(result), file=sys.stderr, flush=True)
    unit = "processor seconds" if options.cpu else "seconds"
    head = f"Medians over {options.seeds} seeds; {unit} on {options.threads} threads"
    single = [model for model in (ONE, LIGHTGBM, HISTGB) if model in models]
    search = [model for model in (ALL, FLAML) if model in models]
    lines = [f"One model each. {head}.", "", *table(results, single, not options.cpu), ""] if single else []
    if search:
        lines += [f"A search each, with a budget of {options.budget} s. {head}.", "", *table(results, search, not options.cpu), ""]
    lines += summary(results, ONE, single[1:] if ONE in single else [])
    lines += summary(results, ALL, [model for model in (LIGHTGBM, HISTGB, FLAML) if model in models])
    print(*lines, sep="\n")
    if options.out:
        pathlib.Path(options.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
