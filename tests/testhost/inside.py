"""The half of the plugin that is loaded in the test host: what pytest reports goes out, a JSON document a line.

To descriptor 3, which no test may write to, close or hand on.
"""

from __future__ import annotations

import json
import os

import pytest

OUT = 3


def pytest_configure() -> None:
    os.set_inheritable(OUT, False)


class Telling:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        _tell({"started": nodeid})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self._config.hook
        _tell({"report": hook.pytest_report_to_serializable(config=self._config, report=report)})

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        _tell({"finished": nodeid})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            _tell({"not_collected": f"{report.nodeid}\n{report.longreprtext}"})


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.pluginmanager.register(Telling(session.config))


def _tell(document: dict[str, object]) -> None:
    data = json.dumps(document, default=str).encode() + b"\n"
    while data:
        data = data[os.write(OUT, data) :]
