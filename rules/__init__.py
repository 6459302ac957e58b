"""Statistical process control without the service: charts, limits, run rules and their kernel.

From a notebook, on single values, subgroups or counts::

    from rules.evaluate import judge

    verdicts = judge("i_mr", [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1])
    verdicts.limits.sigma            # 1.664137..., MR-bar / d2
    verdicts.violations()            # {"nelson-1": [index, ...]}, from 0

Limits that are known judge without a baseline, and a rule is a row that anyone can add::

    from rules.limits import entered, location
    from rules.runs import RunRule

    limits = entered("xbar_r", center=25.0, sigma=0.004, n=5)
    location(limits, n=4)            # the lines of a partial subgroup of four
    seven = RunRule("seven", code=12, k=7, n=7)
    judge("xbar_r", subgroups, limits=limits, rules=["nelson-1", seven])

The modules, each usable alone: ``constants`` (d2, d3, c4), ``charts`` (what is plotted),
``limits`` (estimated, entered, given), ``runs`` (rules as data), ``kernel`` (the compiled judge),
``evaluate`` (whole series), ``stream`` (readings as they arrive).
"""
