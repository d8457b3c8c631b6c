#!/usr/bin/env python3
"""Compares the engine with LightGBM, scikit-learn and FLAML on equal splits.

One command, from anywhere in the workspace:

    python3 crates/automl/bench/baselines.py [--data NAME ...] [--seeds N] [--budget SECONDS]

It creates its own virtual environment under target/automl-bench (set VENV to use
another), writes each split as CSV there, runs `examples/bench.rs` and the Python
baselines on the same files, and prints one table in Markdown: medians over the
seeds (--out FILE writes it as well). The engine and FLAML get the same wall-clock
budget; LightGBM and scikit-learn run once with their defaults. `fit` is everything
from the table in memory to the model; `rows/s` is scoring the test rows from text
(engine) or from a DataFrame (Python), both on all cores. Baselines of earlier runs
are used again unless --fresh. A CSV file of your own: --data FILE.csv:TARGET.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, time

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

    churn = pathlib.Path(os.environ.get("CHURN", "/work/shared/data/churn.csv"))
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
        "classes_100k": (lambda: made(sk.make_classification(100_000, 20, n_informative=10, flip_y=0.05, class_sep=0.7, random_state=7)), False),
    }
    if churn.exists():
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


def engine(folder, seed, budget):
    binary = WORK / "bench"
    out = subprocess.run([binary, folder / "train.csv", "target", "--test", folder / "test.csv", "--seed", str(seed),
                          "--budget", str(budget), "--metric", metric_of(folder)], capture_output=True, text=True)
    if out.returncode != 0:
        return {"model": "crosspilot", "error": out.stderr.strip()[-200:]}
    return json.loads(out.stdout.strip().splitlines()[-1])


def metric_of(folder):
    import pandas as pd
    target = pd.read_csv(folder / "train.csv", usecols=["target"])["target"]
    if str(folder.name).rsplit("-", 1)[0] in REGRESSION:
        return "MSE"
    return "AUC" if target.nunique() == 2 else "Accuracy"


REGRESSION = {"diabetes", "linear_reg", "friedman1", "friedman2"}


def python_models(folder, regression, seed, budget, wanted):
    """Runs the baselines; texts become pandas categories, as their manuals advise."""
    import warnings, logging
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
                top = train[column].value_counts().index[:250 if "HistGB" in wanted else None]
                kind = pd.CategoricalDtype([*top, "other"])
                for part in (train, test):
                    part[column] = part[column].where(part[column].isin(top) | part[column].isna(), "other").astype(kind)

    def lightgbm():
        import lightgbm as lgb
        return (lgb.LGBMRegressor if regression else lgb.LGBMClassifier)(verbose=-1, n_jobs=2, random_state=seed)

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
                self.inner.fit(x, y, task=task, metric=metric, time_budget=budget, seed=seed, verbose=0, n_jobs=2)
                return self
            def __getattr__(self, name):
                return getattr(self.inner, name)
        return Model()

    for name, make in (("LightGBM", lightgbm), ("HistGB", histogram), ("FLAML", flaml)):
        if name not in wanted:
            continue
        try:
            start = time.perf_counter()
            model = make().fit(train, y)
            seconds = time.perf_counter() - start
            start, scored = time.perf_counter(), 0
            while scored == 0 or time.perf_counter() - start < 0.3:
                (model.predict if regression else model.predict_proba)(test)
                scored += len(test)
            row = {"model": name, "seconds": seconds, "rows_per_second": scored / (time.perf_counter() - start)}
            if regression:
                row["R2"] = r2_score(y_test, model.predict(test))
            else:
                p = model.predict_proba(test)
                row["Accuracy"] = accuracy_score(y_test, p.argmax(1))
                row["LogLoss"] = log_loss(y_test, p, labels=list(range(len(classes))))
                if p.shape[1] == 2:
                    row["AUC"] = roc_auc_score(y_test, p[:, 1])
        except Exception as error:
            row = {"model": name, "error": str(error)[-200:]}
        yield row


def main():
    enter_venv()
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=8)
    parser.add_argument("--models", nargs="*", default=["crosspilot", "LightGBM", "HistGB", "FLAML"])
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--out")
    options = parser.parse_args()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    subprocess.run(["cargo", "build", "-q", "-p", "crosspilot-automl", "--example", "bench"], cwd=ROOT, check=True)
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
    cache = WORK / "baselines.json"
    known = json.loads(cache.read_text()) if cache.exists() and not options.fresh else {}
    table = [
        "| data | measure | " + " | ".join([*options.models, *(f"{m} fit s" for m in options.models), *(f"{m} rows/s" for m in options.models)]) + " |",
        "|---|---|" + "---:|" * 3 * len(options.models),
    ]
    print(*table, sep="\n", flush=True)
    for name in chosen:
        make, regression = sets[name]
        rows = {}
        for seed in range(1, options.seeds + 1):
            folder = write_split(name, make, regression, seed)
            if "crosspilot" in options.models:
                rows.setdefault("crosspilot", []).append(engine(folder, seed, options.budget))
            for model in options.models:
                if model == "crosspilot":
                    continue
                # Baselines do not change while the engine is worked on.
                key = f"{name}/{seed}/{options.budget}/{model}"
                if key not in known:
                    known[key] = next(iter(python_models(folder, regression, seed, options.budget, [model])))
                    cache.write_text(json.dumps(known, indent=1))
                rows.setdefault(model, []).append(known[key])
        quality = "R2" if regression else next((q for r in rows.values() for q in ("AUC", "Accuracy") if q in r[0]), "?")

        def middle(model, key, form):
            # A model that failed says so in its place; the reason goes to the side.
            failed = [row["error"] for row in rows[model] if "error" in row]
            if failed:
                print(f"{name}, {model}: {failed[0]}", file=sys.stderr)
                return "failed"
            return form.format(statistics.median(row[key] for row in rows[model]))

        values = [middle(model, quality, "{:.4f}") for model in options.models]
        numbers = [float(value) for value in values if value != "failed"]
        values = [f"**{value}**" if value != "failed" and float(value) == max(numbers) else value for value in values]
        values += [middle(model, "seconds", "{:.2f}") for model in options.models]
        values += [middle(model, "rows_per_second", "{:,.0f}") for model in options.models]
        table.append(f"| {name} | {quality} | " + " | ".join(values) + " |")
        print(table[-1], flush=True)
    if options.out:
        pathlib.Path(options.out).write_text("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
