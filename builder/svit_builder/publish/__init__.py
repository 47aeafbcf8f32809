"""A built folder in, a dataset on the Hub out: once, whole, and only what is missing.

`folder` reads what there is to publish, `plan` compares it with the Hub, `hub` asks and tells the Hub, `retry` does so
until it holds, `job` makes the one commit, `publish` asks what is to be asked before.
"""

from __future__ import annotations

from svit_builder.publish.publish import PublishReport, publish

__all__ = ["PublishReport", "publish"]
