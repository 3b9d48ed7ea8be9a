"""CloudWatch: what the platform's functions did, and roll-ups of alerts. Nothing per model or feature goes there."""

import json
import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from modelwright.insights.anomalies import Figure

NAMESPACE = "Modelwright"
_HOUR_S = 3600
_MEASURED = (
    ("errors", "Errors", "Sum", 3.0),
    ("latency_ms", "Duration", "p95", 200.0),
    ("invocations", "Invocations", "Sum", 100.0),
    ("throttles", "Throttles", "Sum", 1.0),
)


class FunctionMetrics:
    """``PlatformMetrics`` of a stack's functions, by the hour; a cent per thousand series that are found.

    Args:
        stack: its name, with which its functions' names begin.
        client: instead of one made when first needed.
    """

    def __init__(self, stack: str, client: Any = None) -> None:
        self._stack = stack
        self._given = client

    @cached_property
    def _client(self) -> Any:
        import boto3

        return self._given or boto3.client("cloudwatch")

    def figures(self, since: datetime, until: datetime) -> Sequence[Figure]:
        """See ``PlatformMetrics``."""
        said = {f"m{place}": measured for place, measured in enumerate(_MEASURED)}
        queries = [
            {
                "Id": identity,
                "Expression": (
                    f"SEARCH('{{AWS/Lambda,FunctionName}} MetricName=\"{metric}\" {self._stack}', "
                    f"'{statistic}', {_HOUR_S})"
                ),
            }
            for identity, (_, metric, statistic, _) in said.items()
        ]
        found = []
        pages = self._client.get_paginator("get_metric_data")
        for page in pages.paginate(MetricDataQueries=queries, StartTime=since, EndTime=until):
            for result in page["MetricDataResults"]:
                name, *_, floor = said[result["Id"]]
                function = self._called(result["Label"])
                pairs = zip(result["Timestamps"], result["Values"], strict=True) if function else ()
                found += [Figure(series=f"function/{function}/{name}", at=a, value=v, floor=floor) for a, v in pairs]
        return sorted(found, key=lambda figure: figure.at)

    def _called(self, label: str) -> str:
        """Return what we call a function: ``modelwright-PredictFunction-1A2B`` is ``predict``; empty for others'."""
        matched = re.search(rf"\b{re.escape(self._stack)}-(\w+?)Function-\w+", label)
        return matched.group(1).lower() if matched else ""


def count_alert(severity: str, *, write: Any = None) -> None:
    """Count one alert: a line in CloudWatch's embedded metric format, three metrics at most in all, none while idle."""
    told = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {"Namespace": NAMESPACE, "Dimensions": [["severity"]], "Metrics": [{"Name": "Alerts", "Unit": "Count"}]}
            ],
        },
        "severity": severity,
        "Alerts": 1,
    }
    (write or sys.stdout.write)(json.dumps(told) + "\n")
