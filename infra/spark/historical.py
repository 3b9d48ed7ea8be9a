"""The job that joins features to entity rows: ``historical.py LAKE ARTIFACTS QUERY``.

The first two are names of buckets, the third is the key of a query in the lake (``spark_jobs.Query``).
"""

import sys
from collections.abc import Sequence
from functools import partial

from pyspark.sql import SparkSession

from modelwright.adapters import spark_jobs
from modelwright.features.remote import Answer


def main(arguments: Sequence[str]) -> int:
    """Answer the query; 1 if there is no answer."""
    lake, artifacts, query = arguments
    session = SparkSession.builder.appName(f"modelwright {query}").getOrCreate()
    done = spark_jobs.run(session, query, partial(spark_jobs.buckets, lake, artifacts))
    sys.stdout.write(f"{done.model_dump_json()}\n")
    return 0 if isinstance(done, Answer) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
