"""Writes study_statistics.json: statistics of small samples by SciPy and statsmodels.

Values are accuracies in percent with two decimals, so that ties occur.
"""

import json
import math
import pathlib

import numpy as np
import scipy.stats as st
import statsmodels.api as sm
from scipy.optimize import brentq
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower, TTestPower

random = np.random.default_rng(0)


def accuracies(n, mean, std):
    return [round(float(x), 2) for x in random.normal(mean, std, n)]


def cohens_d(a, b):
    df, scale = len(a) + len(b) - 2, math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    pooled = math.sqrt((np.var(a) * len(a) + np.var(b) * len(b)) / df)
    d = (np.mean(a) - np.mean(b)) / pooled
    t = d * scale
    width = 4 + 3 * abs(t) / math.sqrt(2 * df)

    def bound(p):
        return brentq(lambda x: st.nct.cdf(t, df, x) - p, t - width, t + width, xtol=1e-13) / scale

    return dict(d=d, low=bound(0.975), high=bound(0.025), pooled=pooled)


def bootstrap(a):
    # A fixed set of resamples: the intervals depend on them.
    indices = (np.arange(999 * len(a)) * 2654435761 % 2**32 >> 16) % len(a)
    indices = indices.reshape(999, len(a))
    distribution = np.asarray(a)[indices].mean(1)
    given = type("Result", (), {})()
    given.bootstrap_distribution = distribution
    result = st.bootstrap((a,), np.mean, n_resamples=0, bootstrap_result=given, method="BCa", vectorized=False)
    return dict(low=result.confidence_interval.low, high=result.confidence_interval.high)


def effect(power):
    # statsmodels' solve_power stops at eight digits.
    high = 0.1
    while power(high) < 0.8:
        high *= 1.5
    return brentq(lambda x: power(x) - 0.8, high / 1.5 if high > 0.1 else 0, high, xtol=1e-14)


def interval(result):
    found = result.confidence_interval(0.95)
    return dict(low=found.low, high=found.high)


samples = []
for n, mean, std in ((2, 61, 0.3), (3, 60.6, 0.5), (5, 61.2, 0.4), (8, 75.0, 0.8), (12, 40, 3), (60, 50, 0.1)):
    values = accuracies(n, mean, std)
    sem = st.sem(values)
    low, high = st.t.interval(0.95, n - 1, np.mean(values), sem)
    of_median = st.quantile_test(values, q=np.median(values), p=0.5).confidence_interval(0.95)
    samples.append(dict(values=values, mean=np.mean(values), std=np.std(values, ddof=1), sem=sem,
                        median=np.median(values), ci95=dict(low=low, high=high),
                        median_ci95=dict(low=of_median.low, high=of_median.high) if n > 5 else None,
                        bootstrap=bootstrap(values) if 3 <= n <= 12 else None))

pairs = []
for na, nb, difference, std in ((2, 2, 1, 0.4), (3, 3, 0.5, 0.5), (5, 5, 0.3, 0.4), (5, 3, 1.5, 0.6), (7, 7, 0, 0.3),
                                (9, 9, 2, 0.3), (9, 12, 0.2, 0.1), (23, 23, 0.4, 0.5), (60, 60, 0.05, 0.1), (4, 4, 12, 0.3)):
    a, b = accuracies(na, 60 + difference, std), accuracies(nb, 60, std)
    welch = st.ttest_ind(a, b, equal_var=False)
    mann = st.mannwhitneyu(a, b)
    d = cohens_d(a, b)
    case = dict(
        a=a, b=b, welch=dict(t=welch.statistic, df=welch.df, p=welch.pvalue, ci95=interval(welch)),
        mann_whitney=dict(statistic=mann.statistic, p=mann.pvalue), cohens_d=d,
        superiority=mann.statistic / (na * nb),
        detectable=effect(lambda x: TTestIndPower().power(x, na, 0.05, ratio=nb / na)) * d["pooled"],
    )
    if na == nb:
        paired = st.ttest_rel(a, b)
        differences = np.subtract(a, b)
        kept = np.count_nonzero(differences)
        sizes = np.abs(differences[differences != 0])
        exact = kept == na <= 50 and len(set(sizes)) == len(sizes)
        signed = st.wilcoxon(a, b, method="exact" if exact else "asymptotic")
        case |= dict(
            paired=dict(t=paired.statistic, df=paired.df, p=paired.pvalue, ci95=interval(paired)),
            wilcoxon=dict(statistic=signed.statistic, p=signed.pvalue, exact=bool(exact)),
            detectable_paired=effect(lambda x: TTestPower().power(x, na, 0.05)) * np.std(differences, ddof=1)
            # SciPy's noncentral t is NaN at the noncentrality that one degree of freedom needs.
            if na > 2 else None,
        )
    pairs.append(case)

holm = []
for m in (1, 2, 5, 12):
    p = [float(x) for x in random.uniform(0, 0.2, m) ** 2]
    if m > 4:
        p[3] = p[1]
    holm.append(dict(p=p, adjusted=multipletests(p, method="holm")[1].tolist()))

blocks = []
for n, k in ((3, 3), (6, 4), (12, 10), (5, 3)):
    values = [accuracies(k, 60, 1.0) for _ in range(n)]
    if n == 5:
        values[0][1] = values[0][0]
        values[2] = [61.0] * k
    ranks = np.array([st.rankdata([-v for v in row]) for row in values])
    result = st.friedmanchisquare(*np.array(values).T)
    unit = math.sqrt(k * (k + 1) / (12 * n))
    mean = ranks.mean(0)
    blocks.append(dict(
        values=values, chi_squared=result.statistic, p=result.pvalue, mean_ranks=mean.tolist(),
        critical_difference=st.studentized_range.ppf(0.95, k, np.inf) * unit,
        pairwise_p=[[float(st.studentized_range.sf(abs(x - y) / unit, k, np.inf)) for y in mean] for x in mean],
    ))

linear = []
for counts in (((3, 3), (3, 3), (3, 3)), ((5, 3), (2, 4), (3, 3), (1, 1)), ((2, 2), (2, 2))):
    groups = [dict(a=accuracies(na, 60 + 5 * i + 0.6, 0.4), b=accuracies(nb, 60 + 5 * i, 0.4))
              for i, (na, nb) in enumerate(counts)]
    y, x = [], []
    for i, group in enumerate(groups):
        for setting in ("a", "b"):
            for value in group[setting]:
                y.append(value)
                x.append([float(i == j) for j in range(len(groups))] + [float(setting == "a")])
    fit = sm.OLS(y, np.array(x)).fit()
    low, high = fit.conf_int()[-1]
    linear.append(dict(blocks=groups, difference=fit.params[-1], t=fit.tvalues[-1], p=fit.pvalues[-1],
                       df=fit.df_resid, ci95=dict(low=low, high=high)))

path = pathlib.Path(__file__).with_suffix(".json")
parts = dict(samples=samples, pairs=pairs, holm=holm, friedman=blocks, linear=linear)
lines = (f'"{name}": [\n' + ",\n".join(json.dumps(case, default=float) for case in cases) + "\n]" for name, cases in parts.items())
path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
