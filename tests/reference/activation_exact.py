"""Prints activation_exact.json: activations and their derivatives in 400 digits, rounded to double
precision, near zero and far out, where careless formulas cancel.

    pip install mpmath==1.3.0
    python tests/reference/activation_exact.py > tests/reference/activation_exact.json
"""

import json

import mpmath as mp

mp.mp.dps = 400


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def softplus(x):
    return mp.log1p(mp.exp(x))


def gelu_tanh(x):
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))


def isru(x):
    return x / mp.sqrt(1 + x * x)


# The constants are the doubles of the program, of which these functions are exact.
SELU_SCALE = mp.mpf(1.0507009873554805)
SELU_ALPHA = mp.mpf(1.6732632423543772)
FUNCTIONS = {
    "mish": lambda x: x * mp.tanh(softplus(x)),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * mp.ncdf(x),
    "gelu_tanh": gelu_tanh,
    "elu": lambda x: x if x >= 0 else mp.expm1(x),
    "selu": lambda x: SELU_SCALE * (x if x >= 0 else SELU_ALPHA * mp.expm1(x)),
    "softplus": softplus,
    "tanh_shrink": lambda x: x - mp.tanh(x),
    "log_sigmoid": lambda x: -softplus(-x),
    "sigmoid": sigmoid,
    "tanh": mp.tanh,
    "penalized_tanh": lambda x: mp.tanh(x) * (1 if x >= 0 else mp.mpf("0.25")),
    "softsign": lambda x: x / (1 + abs(x)),
    "aria2": lambda x: sigmoid(mp.mpf("1.5") * x),
    "bent_identity": lambda x: (mp.sqrt(x * x + 1) - 1) / 2 + x,
    "elish": lambda x: (x if x >= 0 else mp.expm1(x)) * sigmoid(x),
    "isru": isru,
    "isrlu": lambda x: x if x >= 0 else isru(x),
    "soft_clipping": lambda x: 2 * (softplus(x / 2) - softplus((x - 1) / 2)),
}
MAGNITUDES = [1e-9, 1e-5, 1e-3, 0.02, 0.3, 0.99, 1.01, 4.0, 17.0, 38.0, 105.0]
POINTS = [-x for x in reversed(MAGNITUDES)] + MAGNITUDES


def main():
    results = {}
    for name, function in FUNCTIONS.items():
        points = [mp.mpf(x) for x in POINTS]
        results[name] = {
            "value": [float(function(x)) for x in points],
            "gradient": [float(mp.diff(function, x, h=abs(x) * mp.mpf(10) ** -60)) for x in points],
        }
    print(json.dumps({"mpmath": mp.__version__, "points": POINTS, "functions": results}))


main()
